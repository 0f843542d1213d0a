package service

import (
	"context"
	"log/slog"
	"os"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/state"
)

// Spec describes a service that can be run. The agent learns about services from their specs only.
type Spec struct {
	Name  string // the subcommand, and the key in the configuration's "services"
	Title string // the name in messages, such as "netagent"
	// Packages are the proto packages whose methods the service implements, such as
	// "fairlead.network.v1". Their descriptors contain the roles of all methods.
	Packages []string
	// Public services are registered on the public sockets of their process. Calls of other
	// services are forwarded.
	Public bool
	// HTTP describes the sockets of a service that is an HTTPServer. Nil for other services.
	HTTP *HTTP
	// Nodes says that the service connects to the agents of other hosts: it is a NodeDialer.
	Nodes bool
	// Metrics are the families of a service that is a Measurer.
	Metrics []metrics.Family
	// CheckConfig returns the errors of configuration values that only the service can check. It is
	// called before any service is created, whether the service runs in this process or not. It can
	// be nil.
	CheckConfig func(*config.Config) error
	// New creates the service. It can request connections to other services, but must not use them
	// before Run.
	New func(ctx context.Context, host Deps) (Service, error)
	// Reload applies a configuration to the running service. Nil if the service has no reloadable
	// configuration.
	Reload func(ctx context.Context, s Service, host Deps) error
	// Check returns the error that Reload would return. Nil if that cannot be predicted.
	Check func(ctx context.Context, s Service, host Deps) error
}

// HTTP describes the sockets on which a service serves HTTP.
type HTTP struct {
	// Hosts returns the listen addresses. There can be none.
	Hosts func(*config.Config) []config.Host
	// Group has access to the Unix sockets, besides root. If it does not exist, only root has.
	Group string
	// FDName is the name of the sockets passed by systemd that fd:// stands for.
	FDName string
}

// Make returns s with the functions New, Reload and Check of a service whose package has a Config.
// configure derives that Config from the agent's, and construct creates the service from it. The
// service can implement Reloader and Checker.
func Make[C any, S Service](s Spec, configure func(Deps) C, construct func(context.Context, C) (S, error)) Spec {
	s.New = func(ctx context.Context, h Deps) (Service, error) {
		return As(construct(ctx, configure(h)))
	}
	s.Reload = func(ctx context.Context, s Service, h Deps) error {
		if r, ok := s.(Reloader[C]); ok {
			return r.Reload(ctx, configure(h))
		}
		return nil
	}
	s.Check = func(ctx context.Context, s Service, h Deps) error {
		if r, ok := s.(Checker[C]); ok {
			return r.Check(ctx, configure(h))
		}
		return nil
	}
	return s
}

// As converts the results of a service's constructor, without wrapping a nil pointer in an
// interface.
func As[S Service](s S, err error) (Service, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Deps holds what the agent provides to a service.
type Deps struct {
	Config *config.Config
	Log    *slog.Logger
	// Peer returns a connection to another service by name. Calls return faults and wait a while
	// for the service to be reachable.
	Peer func(name string) grpc.ClientConnInterface
	// Watch reports the health of another service whenever it changes, until ctx ends.
	Watch func(ctx context.Context, name string, report func(serving bool))
	// FDStore keeps open files for the next process of the service.
	FDStore FDStore
	// State is the configuration with which the service opens its store.
	State state.Config
	// Accept authorizes, logs and handles a call that the service accepts on a server of its own. The
	// client is another host or a person, whose certificate the service has verified, and may
	// administer this host. Errors are statuses.
	Accept func(in grpc.ServerStream, certificate string) error
}

// FDStore holds open files by name, in the service manager or in a holder process.
type FDStore interface {
	Available() bool
	Inherited() map[string][]*os.File
	Put(ctx context.Context, name string, file *os.File) error
	Drop(ctx context.Context, name string) error
	Clear(ctx context.Context) error
	Close()
}
