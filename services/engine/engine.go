// Package engine is the service for Docker's clients: it serves the Docker Engine API and translates it
// into calls of the other services. It has no state. It can be killed at any time without an effect on
// containers.
//
// # Add an operation
//
// Write its handler in a file of its own, as a method of Handlers in the package of its object (system,
// containers, execs, images, networks, volumes), and add it to Operations there. A handler parses the
// request with package httpapi, calls the other services, and writes the response. What it returns as
// an error, usually that of another service, is the error response.
//
// Conversions between Docker's JSON and messages are pure functions in the packages below translate,
// with golden files: see apitest.Golden. Their documents are validated with Docker's own swagger.yaml by
// apitest.Validate. What depends on the version of the API takes an apiversion.Version. Fields that
// github.com/moby/moby/api no longer has are in package legacy.
//
// A new package of handlers is one line in New.
package engine

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/fairlead/fairlead/services/engine/internal/api"
	"github.com/fairlead/fairlead/services/engine/internal/builds"
	"github.com/fairlead/fairlead/services/engine/internal/containers"
	"github.com/fairlead/fairlead/services/engine/internal/execs"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/images"
	"github.com/fairlead/fairlead/services/engine/internal/networks"
	"github.com/fairlead/fairlead/services/engine/internal/peers"
	"github.com/fairlead/fairlead/services/engine/internal/swarm"
	"github.com/fairlead/fairlead/services/engine/internal/system"
	"github.com/fairlead/fairlead/services/engine/internal/volumes"
)

// Clients are the clients of the other services.
type Clients = peers.Clients

// Config configures the service.
type Config struct {
	Log     *slog.Logger
	Clients Clients
	// Services are the titles of the services that must be running, by name.
	Services map[string]string
	// Watch reports the health of a service until ctx ends.
	Watch peers.WatchFunc
}

// Service is the service.
type Service struct {
	api.Server
	presence *peers.Presence
	router   *httpapi.Router
}

// New creates the service.
func New(_ context.Context, c Config) (*Service, error) {
	presence := peers.NewPresence(c.Services, c.Watch)
	builders := builds.New(c.Clients)
	return &Service{presence: presence, router: httpapi.NewRouter(c.Log, presence.Ready,
		system.New(c.Clients, builders.Cache).Operations(),
		containers.New(c.Clients).Operations(),
		execs.New(c.Clients).Operations(),
		images.New(c.Clients).Operations(),
		networks.New(c.Clients).Operations(),
		volumes.New(c.Clients).Operations(),
		builders.Operations(),
		swarm.Operations(),
	)}, nil
}

// Handler returns the handler of the Docker Engine API.
func (s *Service) Handler() http.Handler { return s.router }

// Run runs until ctx ends. The service is ready before the other services are.
func (s *Service) Run(ctx context.Context, ready func()) error {
	ready()
	s.presence.Run(ctx)
	return ctx.Err()
}

// Close closes nothing: Run has stopped everything.
func (s *Service) Close() error { return nil }
