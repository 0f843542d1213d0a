// Package daemon runs services on a host: one of them, or all in one process. Both deployment modes
// run the same code: each service has its own socket and connects to the others through theirs. One
// public socket serves what administrators may call in all of them.
//
// It uses services only through agent/service. The fairlead-agent command passes the list of
// services.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/process"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/version"
)

// ServiceSpec describes a service that can be run.
type ServiceSpec struct {
	Name string // the subcommand, and the key in the configuration's "services"
	// Public services are registered on the public sockets of their process. Calls of other
	// services are forwarded.
	Public bool
	// New creates the service. It can request connections to other services, but must not use them
	// before Run.
	New func(ctx context.Context, host Deps) (service.Service, error)
	// Reload applies a configuration to the running service. Nil if the service has no reloadable
	// configuration.
	Reload func(ctx context.Context, s service.Service, host Deps) error
	// Check returns the error that Reload would return. Nil if that cannot be predicted.
	Check func(ctx context.Context, s service.Service, host Deps) error
}

// NewServiceSpec returns the spec of a service whose package has a Config. configure derives that
// Config from the agent's, and construct creates the service from it. The spec supports
// service.Reloader and service.Checker.
func NewServiceSpec[C any, S service.Service](name string, configure func(Deps) C,
	construct func(context.Context, C) (S, error)) ServiceSpec {
	return ServiceSpec{
		Name: name,
		New: func(ctx context.Context, h Deps) (service.Service, error) {
			return AsService(construct(ctx, configure(h)))
		},
		Reload: func(ctx context.Context, s service.Service, h Deps) error {
			if r, ok := s.(service.Reloader[C]); ok {
				return r.Reload(ctx, configure(h))
			}
			return nil
		},
		Check: func(ctx context.Context, s service.Service, h Deps) error {
			if r, ok := s.(service.Checker[C]); ok {
				return r.Check(ctx, configure(h))
			}
			return nil
		},
	}
}

// Deps holds what the daemon provides to a service.
type Deps struct {
	Config *config.Config
	Log    *slog.Logger
	// Peer returns a connection to another service by name. Calls return faults and wait a while
	// for the service to be reachable.
	Peer func(name string) grpc.ClientConnInterface
	// FDStore keeps open files for the next process of the service.
	FDStore Store
	// State is the configuration with which the service opens its store.
	State state.Config
}

// Store holds open files by name, in the service manager or in a holder. It is implemented by
// process.FDStore and holder.Client.
type Store interface {
	Available() bool
	Inherited() map[string][]*os.File
	Put(ctx context.Context, name string, file *os.File) error
	Drop(ctx context.Context, name string) error
	Clear(ctx context.Context) error
	Close()
}

// Options configures Run.
type Options struct {
	Name         string // of the process, for its pidfile
	Config       *config.Config
	Log          *slog.Logger
	Services     []ServiceSpec
	Public       bool // open the public sockets
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
	peers, err := dialPeers(o.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peers.close()) }()
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

// AsService converts the results of a service's constructor, without wrapping a nil pointer in an
// interface.
func AsService[S service.Service](s S, err error) (service.Service, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
