// Package api implements fairlead.dns.v1: it converts requests, calls the service and converts
// results. It contains no policy. Package dnsagent creates the Server.
package api

import (
	"context"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/diagnosis"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/names"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

// Names registers the names of containers.
type Names interface {
	Register(ctx context.Context, r registration.Registration) (names.Registered, error)
	Update(ctx context.Context, owner string, u names.Update) error
	Owners(ctx context.Context) ([]string, error)
	Release(ctx context.Context, owner string) error
	// Check compares the store with files and resolvers. With repair it reconciles them first.
	Check(ctx context.Context, repair bool) []diagnosis.Finding
}

// Config holds what the gRPC services of dnsagent call.
type Config struct {
	Names   Names
	Queries Queries
	Cache   Cache
	Records Records
}

// Server registers the gRPC services of dnsagent.
type Server struct{ cfg Config }

// New returns a Server.
func New(cfg Config) *Server { return &Server{cfg} }

// Register registers the services.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	dnsv1.RegisterNameServiceServer(r, &nameServer{names: s.cfg.Names})
	dnsv1.RegisterQueryServiceServer(r, &queryServer{queries: s.cfg.Queries, cache: s.cfg.Cache})
	dnsv1.RegisterRecordServiceServer(r, &recordServer{records: s.cfg.Records})
	dnsv1.RegisterForwardServiceServer(r, &forwardServer{records: s.cfg.Records})
}
