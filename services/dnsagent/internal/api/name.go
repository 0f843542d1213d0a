package api

import (
	"context"

	"github.com/fairlead/fairlead/agent/diagnosis"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

// nameServer implements fairlead.dns.v1.NameService.
type nameServer struct {
	dnsv1.UnimplementedNameServiceServer
	names Names
}

// Register implements NameServiceServer.
func (s *nameServer) Register(ctx context.Context, req *dnsv1.RegisterRequest) (*dnsv1.RegisterResponse, error) {
	reg, err := registrationFromProto(req)
	if err != nil {
		return nil, err
	}

	done, err := s.names.Register(ctx, reg)
	if err != nil {
		return nil, err
	}

	return &dnsv1.RegisterResponse{Files: registeredToProto(done)}, nil
}

// Update implements NameServiceServer.
func (s *nameServer) Update(ctx context.Context, req *dnsv1.UpdateRequest) (*dnsv1.UpdateResponse, error) {
	u, err := updateFromProto(req)
	if err != nil {
		return nil, err
	}
	if err := s.names.Update(ctx, req.GetOwner(), u); err != nil {
		return nil, err
	}
	return &dnsv1.UpdateResponse{}, nil
}

// ListOwners implements NameServiceServer.
func (s *nameServer) ListOwners(ctx context.Context, _ *dnsv1.ListOwnersRequest) (*dnsv1.ListOwnersResponse, error) {
	owners, err := s.names.Owners(ctx)
	if err != nil {
		return nil, err
	}
	return &dnsv1.ListOwnersResponse{Owners: owners}, nil
}

// Check implements NameServiceServer.
func (s *nameServer) Check(ctx context.Context, req *dnsv1.CheckRequest) (*dnsv1.CheckResponse, error) {
	return &dnsv1.CheckResponse{Findings: diagnosis.Proto(s.names.Check(ctx, req.GetRepair()))}, nil
}

// Release implements NameServiceServer.
func (s *nameServer) Release(ctx context.Context, req *dnsv1.ReleaseRequest) (*dnsv1.ReleaseResponse, error) {
	if err := s.names.Release(ctx, req.GetOwner()); err != nil {
		return nil, err
	}
	return &dnsv1.ReleaseResponse{}, nil
}
