package api

import (
	"context"

	"github.com/fairlead/fairlead/agent/diagnosis"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// firewallServer implements fairlead.nat.v1.FirewallService.
type firewallServer struct {
	natv1.UnimplementedFirewallServiceServer
	networks Networks
	doctor   Doctor
	checker  Checker
	closed   Explainer
}

// Diagnose implements FirewallServiceServer.
func (s *firewallServer) Diagnose(ctx context.Context, req *natv1.DiagnoseRequest) (*natv1.DiagnoseResponse, error) {
	resp := &natv1.DiagnoseResponse{Backend: s.doctor.Backend()}
	if !req.GetBackendOnly() {
		resp.Findings = diagnosis.Proto(s.doctor.Run(ctx))
	}
	return resp, nil
}

// Check implements FirewallServiceServer.
func (s *firewallServer) Check(ctx context.Context, req *natv1.CheckRequest) (*natv1.CheckResponse, error) {
	return &natv1.CheckResponse{Findings: diagnosis.Proto(s.checker.Check(ctx, req.GetRepair()))}, nil
}

// PutNetwork implements FirewallServiceServer.
func (s *firewallServer) PutNetwork(ctx context.Context,
	req *natv1.PutNetworkRequest) (*natv1.PutNetworkResponse, error) {
	n, err := networkFromProto(req.GetNetwork())
	if err != nil {
		return nil, err
	}
	if err := s.networks.Put(ctx, n); err != nil {
		return nil, err
	}
	return &natv1.PutNetworkResponse{}, nil
}

// DeleteNetwork implements FirewallServiceServer.
func (s *firewallServer) DeleteNetwork(ctx context.Context,
	req *natv1.DeleteNetworkRequest) (*natv1.DeleteNetworkResponse, error) {
	if err := s.networks.Delete(ctx, req.GetId()); err != nil {
		return nil, err
	}
	return &natv1.DeleteNetworkResponse{}, nil
}

// PutTunnel implements FirewallServiceServer.
func (s *firewallServer) PutTunnel(ctx context.Context,
	req *natv1.PutTunnelRequest) (*natv1.PutTunnelResponse, error) {
	t, err := tunnelFromProto(req.GetTunnel())
	if err != nil {
		return nil, err
	}
	if err := s.networks.PutTunnel(ctx, t); err != nil {
		return nil, err
	}
	return &natv1.PutTunnelResponse{}, nil
}

// ListNetworks implements FirewallServiceServer.
func (s *firewallServer) ListNetworks(ctx context.Context,
	_ *natv1.ListNetworksRequest) (*natv1.ListNetworksResponse, error) {
	all, err := s.networks.List(ctx)
	if err != nil {
		return nil, err
	}
	return &natv1.ListNetworksResponse{Networks: networksToProto(all)}, nil
}

// ListBlockedPorts implements FirewallServiceServer.
func (s *firewallServer) ListBlockedPorts(ctx context.Context,
	req *natv1.ListBlockedPortsRequest) (*natv1.ListBlockedPortsResponse, error) {
	to, ports, err := hostPortsFromProto(req)
	if err != nil {
		return nil, err
	}
	all, err := s.closed.BlockedPorts(ctx, to, ports)
	if err != nil {
		return nil, err
	}
	return &natv1.ListBlockedPortsResponse{Ports: blockedPortsToProto(all)}, nil
}
