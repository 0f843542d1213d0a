// Package daemon runs services on a host: any one of them, or all in one process. Both shapes run the same code: each service has its own
// socket and finds the others through theirs, and one public socket shows what administrators may ask of all of them.
//
// It knows services only by agent/service; which there are is the command's table.
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

// ServiceSpec is a service that can be run.
type ServiceSpec struct {
	Name string // its subcommand, and its key in the configuration's "services"
	// Public services are on the public sockets of their process themselves; calls of others are passed on to where they are.
	Public bool
	// New makes the service. It may ask for connections to others, but not use them before Run.
	New func(ctx context.Context, host Deps) (service.Service, error)
	// Reload hands the service a configuration while it runs; nil if it takes none.
	Reload func(ctx context.Context, s service.Service, host Deps) error
	// Check tells beforehand why Reload would fail; nil if that cannot be told.
	Check func(ctx context.Context, s service.Service, host Deps) error
}

// NewServiceSpec is a service whose package has a Config: configure makes that of the agent's, and construct the service of it. What
// implements service.Reloader gets each new one, too, and service.Checker is asked before.
func NewServiceSpec[C any, S service.Service](name string, configure func(Deps) C, construct func(context.Context, C) (S, error)) ServiceSpec {
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

// Deps is what the frame gives to a service.
type Deps struct {
	Config *config.Config
	Log    *slog.Logger
	// Peer is a connection to another service by its Name. Calls over it answer faults and wait a while for the other to be there.
	Peer func(name string) grpc.ClientConnInterface
	// FDStore is where the service leaves open files for its next process.
	FDStore Store
	// State is how the service opens its store.
	State state.Config
}

// Store holds open files by name, in the service manager or in a holder: process.Store and holder.Client do.
type Store interface {
	Available() bool
	Inherited() map[string][]*os.File
	Put(ctx context.Context, name string, file *os.File) error
	Drop(ctx context.Context, name string) error
	Clear(ctx context.Context) error
	Close()
}

// Options says what a process is to run.
type Options struct {
	Name         string // of the process, for its pidfile
	Config       *config.Config
	Log          *slog.Logger
	Services     []ServiceSpec
	Public       bool // open the public sockets
	Notifier     process.Notifier
	Sockets      []*os.File   // that the service manager opened for the process; the hosts fd:// are these
	InheritedFDs []*os.File   // by services, with the service manager
	Choice       state.Choice // for stores that cannot be the last state of the host
	Holder       []string     // the program that holds files for services where no service manager does; empty: none does

	Reread  func() (*config.Config, []string, error) // the configuration as it is written now, with warnings; nil: it cannot be read again
	Hangups <-chan struct{}                          // each asks for that
	Level   *slog.LevelVar                           // of Log; nil: it stays
}

// Run carries the services until ctx ends or one of them fails. Containers and their traffic outlive it.
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
	o.Log.Info("starting", "version", version.Version, "pid", os.Getpid(), "data-root", o.Config.DataRoot, "exec-root", o.Config.ExecRoot)
	if err := a.listen(ctx, o, peers); err != nil {
		return err
	}
	return a.run(ctx, o.Notifier)
}

// AsService turns what a service's New answers into what Carried.New answers, without wrapping a nil pointer in an interface.
func AsService[S service.Service](s S, err error) (service.Service, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
