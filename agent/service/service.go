// Package service defines the interface between package daemon and the services that it runs.
//
// New(ctx, Config) of a service package opens the state and probes the kernel, but changes nothing.
// The daemon then registers the gRPC handlers and runs the service. Handlers return faults (package
// proto/fault) and do not log them: the server logs and converts them.
package service

import (
	"context"
	"net/http"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/metrics"
)

// Service is one service of the agent.
type Service interface {
	// Register adds the service's gRPC handlers to a server. It is called once for each server.
	Register(grpc.ServiceRegistrar)
	// Run reconciles, calls ready once when the service can be used, and runs until ctx ends. A
	// returned error stops the agent. Containers and their traffic are not affected.
	Run(ctx context.Context, ready func()) error
	// Close closes files and sockets. It is called after Run has returned and all calls have
	// finished.
	Close() error
}

// Reloader is a service with a reloadable configuration. C is the Config of its package.
type Reloader[C any] interface {
	// Reload applies the reloadable part of cfg. If it fails, nothing has changed. It is called
	// after ready and before Run returns, concurrently with calls, but never concurrently with
	// itself.
	Reload(ctx context.Context, cfg C) error
}

// Checker is a Reloader that can predict errors.
type Checker[C any] interface {
	// Check returns the error that Reload would return, as far as it can be predicted. It changes
	// nothing.
	Check(ctx context.Context, cfg C) error
}

// NodeDialer is a service that connects to the agents of other hosts.
type NodeDialer interface {
	// Node returns a connection to the agent of another host by name or ID, which is closed by the
	// service. It is nil for this host.
	Node(ctx context.Context, name string) (grpc.ClientConnInterface, error)
}

// Measurer is a service with metrics, which its Spec declares.
type Measurer interface {
	// Measure adds the present values.
	Measure(ctx context.Context, set *metrics.Set)
}

// Cleaner is a service that keeps state in the kernel, or knows the users of such state.
type Cleaner interface {
	// Users returns the users of the state, for messages: "container web".
	Users() []string
	// Clean removes the state from the kernel and restores changed settings of the host. It is
	// called instead of Run.
	Clean(ctx context.Context) error
}

// HTTPServer is a service that also serves HTTP, on the sockets of its Spec. Clients are identified and
// authorized before. The context of a request contains the client: calls of other services with it are
// authorized for that client and not for the agent.
type HTTPServer interface {
	// Handler returns the handler of all requests. It is called once, and can be used before Run.
	Handler() http.Handler
}
