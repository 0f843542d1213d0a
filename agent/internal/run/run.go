// Package run runs services on a host: one of them, or all in one process. Both deployment modes
// run the same code: each service has its own socket and connects to the others through theirs. One
// public socket serves what administrators may call in all of them.
//
// It uses services only through agent/service. Package command passes the list of services.
package run

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/process"
	"github.com/fairlead/fairlead/agent/internal/route"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/version"
)

// Options configures Run.
type Options struct {
	Name         string // of the process, for its pidfile
	Config       *config.Config
	Log          *slog.Logger
	Services     []service.Spec // of this process
	All          []service.Spec // of the host, in any process
	Public       bool           // open the public sockets
	Notifier     process.Notifier
	Sockets      []*os.File   // passed by the service manager; used for the hosts fd://
	InheritedFDs []*os.File   // stored by the services in the service manager
	Choice       state.Choice // for stores that are lost or outdated
	Holder       []string     // program that holds files without a service manager; empty: none

	// reads the configuration again, with warnings; nil: not reloadable
	Reread  func() (*config.Config, []string, error)
	Hangups <-chan struct{} // each requests a reload
	Level   *slog.LevelVar  // of Log; nil: fixed
}

// Run runs the services until ctx ends or one of them fails. Containers and their traffic are not
// affected.
func Run(ctx context.Context, o Options) (err error) {
	claims, err := acquireInstance(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claims.release()) }()
	if err := process.SetOOMScore(o.Config.OOMScoreAdjust); err != nil {
		return err
	}
	peers, err := route.Dial(o.Config, o.All)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peers.Close()) }()
	a, err := newAgent(ctx, o, peers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	o.Log.Info("starting", "version", version.Version, "pid", os.Getpid(), "data-root", o.Config.DataRoot, "exec-root",
		o.Config.ExecRoot)
	if err := a.listen(ctx, o, peers); err != nil {
		return err
	}
	return a.run(ctx, o.Notifier)
}
