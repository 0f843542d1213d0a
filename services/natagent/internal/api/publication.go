package api

import (
	"context"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port/portpb"
)

// publicationServer implements fairlead.nat.v1.PublicationService.
type publicationServer struct {
	natv1.UnimplementedPublicationServiceServer
	publications Publications
	hostFirewall HostFirewall
	explainer    Explainer
}

// Publish implements PublicationServiceServer.
func (s *publicationServer) Publish(ctx context.Context, req *natv1.PublishRequest) (*natv1.PublishResponse, error) {
	want, err := publicationFromProto(req)
	if err != nil {
		return nil, err
	}
	bindings, err := s.publications.Publish(ctx, want)
	if err != nil {
		return nil, err
	}
	return &natv1.PublishResponse{Bindings: portpb.BindingsToProto(bindings)}, nil
}

// UpdatePublication implements PublicationServiceServer.
func (s *publicationServer) UpdatePublication(ctx context.Context,
	req *natv1.UpdatePublicationRequest) (*natv1.UpdatePublicationResponse, error) {
	want, err := publicationFromProto(req.GetPublication())
	if err != nil {
		return nil, err
	}
	bindings, err := s.publications.Update(ctx, want, req.GetKeepConnections())
	if err != nil {
		return nil, err
	}
	return &natv1.UpdatePublicationResponse{Bindings: portpb.BindingsToProto(bindings)}, nil
}

// CheckHostFirewall implements PublicationServiceServer.
func (s *publicationServer) CheckHostFirewall(ctx context.Context,
	req *natv1.CheckHostFirewallRequest) (*natv1.CheckHostFirewallResponse, error) {
	bindings, err := portpb.BindingsFromProto(req.GetBindings())
	if err != nil {
		return nil, err
	}
	warnings, err := s.hostFirewall.Review(ctx, bindings)
	if err != nil {
		return nil, err
	}
	return &natv1.CheckHostFirewallResponse{Warnings: warnings}, nil
}

// ExplainConnection implements PublicationServiceServer.
func (s *publicationServer) ExplainConnection(ctx context.Context,
	req *natv1.ExplainConnectionRequest) (*natv1.ExplainConnectionResponse, error) {
	p, err := packetFromProto(req)
	if err != nil {
		return nil, err
	}
	verdict, foreign, err := s.explainer.Explain(ctx, p)
	if err != nil {
		return nil, err
	}
	return verdictToProto(verdict, foreign, s.explainer.Rule), nil
}

// ListPublications implements PublicationServiceServer.
func (s *publicationServer) ListPublications(ctx context.Context,
	_ *natv1.ListPublicationsRequest) (*natv1.ListPublicationsResponse, error) {
	all, err := s.publications.List(ctx)
	if err != nil {
		return nil, err
	}
	return &natv1.ListPublicationsResponse{Publications: publicationsToProto(all)}, nil
}

// Release implements PublicationServiceServer.
func (s *publicationServer) Release(ctx context.Context, req *natv1.ReleaseRequest) (*natv1.ReleaseResponse, error) {
	if err := s.publications.Release(ctx, req.GetOwner()); err != nil {
		return nil, err
	}
	return &natv1.ReleaseResponse{}, nil
}

// DrainConnections implements PublicationServiceServer.
func (s *publicationServer) DrainConnections(ctx context.Context,
	req *natv1.DrainConnectionsRequest) (*natv1.DrainConnectionsResponse, error) {
	addresses, err := addressesFromProto(req.GetAddresses())
	if err != nil {
		return nil, err
	}
	timeout, err := timeoutFromProto(req.GetTimeoutMs())
	if err != nil {
		return nil, err
	}
	open, err := s.publications.DrainConnections(ctx, addresses, timeout)
	if err != nil {
		return nil, err
	}
	return &natv1.DrainConnectionsResponse{OpenConnections: uint32(open)}, nil
}

// DeleteConntrack implements PublicationServiceServer.
func (s *publicationServer) DeleteConntrack(ctx context.Context,
	req *natv1.DeleteConntrackRequest) (*natv1.DeleteConntrackResponse, error) {
	addresses, err := addressesFromProto(req.GetAddresses())
	if err != nil {
		return nil, err
	}
	if err := s.publications.DeleteConntrack(ctx, addresses); err != nil {
		return nil, err
	}
	return &natv1.DeleteConntrackResponse{}, nil
}
