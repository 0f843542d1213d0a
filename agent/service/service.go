// Package service is the contract between the agent's frame and the services that it carries.
//
// A service is made by its package's New(ctx, Config), which opens its state and tries out the kernel but changes nothing.
// The frame then registers its handlers, and runs it. Handlers return faults (package proto/fault) and never log them: the
// frame writes one line a call and translates.
package service

import (
	"context"

	"google.golang.org/grpc"
)

// Service is one concern, ready to be served.
type Service interface {
	// Register adds the service's gRPC handlers to a server. It is called once for each server that carries it.
	Register(grpc.ServiceRegistrar)
	// Run reconciles, calls ready once when the service can be used, and keeps going until ctx ends. An error that it returns
	// stops the agent. Containers and their traffic outlive it.
	Run(ctx context.Context, ready func()) error
	// Close lets go of files and sockets. It is called after Run has returned and no call is under way.
	Close() error
}

// Reloader is a service that takes some of its configuration while it runs. C is its package's Config.
type Reloader[C any] interface {
	// Reload puts into effect what it can of cfg and leaves the rest as it is. If it fails, nothing has changed. It is called after
	// Run's ready and before its end, beside calls, and never twice at once.
	Reload(ctx context.Context, cfg C) error
}

// Checker is a Reloader that can tell beforehand.
type Checker[C any] interface {
	// Check answers why Reload would fail, as far as that can be known without trying. It changes nothing.
	Check(ctx context.Context, cfg C) error
}

// Cleaner is a service that keeps something in the kernel, or knows who uses what others keep there.
type Cleaner interface {
	// Users names what uses it, for messages: "container web".
	Users() []string
	// Clean takes it away, and puts back what was changed of others'. It is called in place of Run.
	Clean(ctx context.Context) error
}
