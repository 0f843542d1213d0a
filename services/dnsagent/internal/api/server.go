// Package api implements fairlead.dns.v1: it converts requests, calls the service and converts
// results. It contains no policy.
package api

import (
	"context"
	"net/netip"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/diagnosis"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

// Names is the part of the service that the handlers call.
type Names interface {
	Register(ctx context.Context, r registration.Registration) (Registered, error)
	Update(ctx context.Context, owner string, u Update) error
	Owners(ctx context.Context) ([]string, error)
	Release(ctx context.Context, owner string) error
	// Check compares the store with files and resolvers. With repair it reconciles them first.
	Check(ctx context.Context, repair bool) []diagnosis.Finding
}

// Registered is the result of a registration.
type Registered struct {
	Owner    string
	Paths    files.Paths
	Hostname string // hostname to start the container with
}

// Update holds the changeable fields of a registration.
type Update struct {
	Addresses []netip.Addr
	Networks  []registration.Network
	Aliases   []registration.Alias

	HostGateways []netip.Addr // empty means unchanged
}

// Server implements NameService. The handlers are a separate type, since one RPC is also named
// Register.
type Server struct{ handlers handlers }

// New returns a server for names.
func New(names Names) *Server { return &Server{handlers{names: names}} }

// Register adds NameService to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { dnsv1.RegisterNameServiceServer(r, s.handlers) }

type handlers struct {
	dnsv1.UnimplementedNameServiceServer
	names Names
}

func (h handlers) Register(ctx context.Context, req *dnsv1.RegisterRequest) (*dnsv1.RegisterResponse, error) {
	reg, err := registrationOf(req)
	if err != nil {
		return nil, err
	}

	done, err := h.names.Register(ctx, reg)
	if err != nil {
		return nil, err
	}

	return &dnsv1.RegisterResponse{Files: &dnsv1.NameFiles{
		Owner:          done.Owner,
		HostnamePath:   done.Paths.Hostname,
		HostsPath:      done.Paths.Hosts,
		ResolvConfPath: done.Paths.ResolvConf,
		Hostname:       done.Hostname,
	}}, nil
}

func (h handlers) Update(ctx context.Context, req *dnsv1.UpdateRequest) (*dnsv1.UpdateResponse, error) {
	u, err := updateOf(req)
	if err != nil {
		return nil, err
	}
	if err := h.names.Update(ctx, req.GetOwner(), u); err != nil {
		return nil, err
	}
	return &dnsv1.UpdateResponse{}, nil
}

func (h handlers) ListOwners(ctx context.Context, _ *dnsv1.ListOwnersRequest) (*dnsv1.ListOwnersResponse, error) {
	owners, err := h.names.Owners(ctx)
	if err != nil {
		return nil, err
	}
	return &dnsv1.ListOwnersResponse{Owners: owners}, nil
}

func (h handlers) Check(ctx context.Context, req *dnsv1.CheckRequest) (*dnsv1.CheckResponse, error) {
	return &dnsv1.CheckResponse{Findings: diagnosis.Proto(h.names.Check(ctx, req.GetRepair()))}, nil
}

func (h handlers) Release(ctx context.Context, req *dnsv1.ReleaseRequest) (*dnsv1.ReleaseResponse, error) {
	if err := h.names.Release(ctx, req.GetOwner()); err != nil {
		return nil, err
	}
	return &dnsv1.ReleaseResponse{}, nil
}
