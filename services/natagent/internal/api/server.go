// Package api implements the gRPC services of fairlead.nat.v1. It converts requests and responses
// and contains no policy.
package api

import (
	"context"
	"net/netip"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/diagnosis"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Publications implements PublicationService.
type Publications interface {
	Publish(ctx context.Context, want *publication.Publication) ([]port.Binding, error)
	Republish(ctx context.Context, want *publication.Publication, keepOpen bool) ([]port.Binding, error)
	List(ctx context.Context) ([]*publication.Publication, error)
	Release(ctx context.Context, owner string) error
	DrainConnections(ctx context.Context, addresses []netip.Addr) (open int, err error)
	DeleteConntrack(ctx context.Context, addresses []netip.Addr) error
}

// NetworkRules implements the network RPCs of FirewallService.
type NetworkRules interface {
	Put(ctx context.Context, n *firewall.Network) error
	List(ctx context.Context) ([]*firewall.Network, error)
	Delete(ctx context.Context, id string) error
}

// Explainer explains connections.
type Explainer interface {
	Explain(ctx context.Context, p packettrace.Packet) (packettrace.Verdict, []string, error)
	// Rule returns the table and chain of a location.
	Rule(packettrace.Location) string
}

// Doctor diagnoses the firewall backends.
type Doctor interface {
	Backend() string
	Run(ctx context.Context) []diagnosis.Finding
}

// Server implements PublicationServiceServer and FirewallServiceServer.
type Server struct {
	natv1.UnimplementedPublicationServiceServer
	natv1.UnimplementedFirewallServiceServer
	publications Publications
	networks     NetworkRules
	doctor       Doctor
	explainer    Explainer

	// Reviewer checks published ports against the host firewall. It can be nil.
	Reviewer HostFirewallChecker

	// Comparer compares the store with the kernel, and with repair reconciles first. It can be nil.
	Comparer func(ctx context.Context, repair bool) []diagnosis.Finding
}

// New returns a server.
func New(publications Publications, networks NetworkRules, doctor Doctor, explainer Explainer) *Server {
	return &Server{publications: publications, networks: networks, doctor: doctor, explainer: explainer}
}

// Register adds both services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	natv1.RegisterPublicationServiceServer(r, s)
	natv1.RegisterFirewallServiceServer(r, s)
}

// Publish implements PublicationServiceServer.
func (s *Server) Publish(ctx context.Context, req *natv1.PublishRequest) (*natv1.PublishResponse, error) {
	want, err := publicationOf(req)
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
func (s *Server) UpdatePublication(ctx context.Context,
	req *natv1.UpdatePublicationRequest) (*natv1.UpdatePublicationResponse, error) {
	want, err := publicationOf(req.GetPublication())
	if err != nil {
		return nil, err
	}
	bindings, err := s.publications.Republish(ctx, want, req.GetKeepConnections())
	if err != nil {
		return nil, err
	}
	return &natv1.UpdatePublicationResponse{Bindings: portpb.BindingsToProto(bindings)}, nil
}

// ListPublications implements PublicationServiceServer.
func (s *Server) ListPublications(ctx context.Context,
	_ *natv1.ListPublicationsRequest) (*natv1.ListPublicationsResponse, error) {
	all, err := s.publications.List(ctx)
	if err != nil {
		return nil, err
	}
	resp := &natv1.ListPublicationsResponse{}
	for _, p := range all {
		resp.Publications = append(resp.Publications,
			&natv1.Publication{Owner: p.Owner, OwnerName: p.OwnerName, Bindings: portpb.BindingsToProto(p.Bindings)})
	}
	return resp, nil
}

// ExplainConnection implements PublicationServiceServer.
func (s *Server) ExplainConnection(ctx context.Context,
	req *natv1.ExplainConnectionRequest) (*natv1.ExplainConnectionResponse, error) {
	p, err := packetOf(req)
	if err != nil {
		return nil, err
	}

	v, others, err := s.explainer.Explain(ctx, p)
	if err != nil {
		return nil, err
	}

	resp := &natv1.ExplainConnectionResponse{Allowed: v.Reached, ForeignRules: others}
	if v.Binding != nil {
		resp.Binding, resp.Container = portpb.BindingToProto(*v.Binding), v.Binding.OwnerName
	}

	for _, step := range v.Steps {
		resp.Steps = append(resp.Steps, &natv1.ExplainStep{Rule: s.explainer.Rule(step.Place), Text: step.Text})
	}

	return resp, nil
}

// Release implements PublicationServiceServer.
func (s *Server) Release(ctx context.Context, req *natv1.ReleaseRequest) (*natv1.ReleaseResponse, error) {
	if err := s.publications.Release(ctx, req.GetOwner()); err != nil {
		return nil, err
	}
	return &natv1.ReleaseResponse{}, nil
}

// Check implements FirewallServiceServer.
func (s *Server) Check(ctx context.Context, req *natv1.CheckRequest) (*natv1.CheckResponse, error) {
	if s.Comparer == nil {
		return &natv1.CheckResponse{}, nil
	}
	return &natv1.CheckResponse{Findings: diagnosis.Proto(s.Comparer(ctx, req.GetRepair()))}, nil
}

// Diagnose implements FirewallServiceServer.
func (s *Server) Diagnose(ctx context.Context, req *natv1.DiagnoseRequest) (*natv1.DiagnoseResponse, error) {
	if req.GetBackendOnly() {
		return &natv1.DiagnoseResponse{Backend: s.doctor.Backend()}, nil
	}
	return &natv1.DiagnoseResponse{Findings: diagnosis.Proto(s.doctor.Run(ctx)), Backend: s.doctor.Backend()}, nil
}

// PutNetwork implements FirewallServiceServer.
func (s *Server) PutNetwork(ctx context.Context, req *natv1.PutNetworkRequest) (*natv1.PutNetworkResponse, error) {
	n, err := networkOf(req.GetNetwork())
	if err != nil {
		return nil, err
	}
	if err := s.networks.Put(ctx, n); err != nil {
		return nil, err
	}
	return &natv1.PutNetworkResponse{}, nil
}

// DeleteNetwork implements FirewallServiceServer.
func (s *Server) DeleteNetwork(ctx context.Context, req *natv1.DeleteNetworkRequest) (*natv1.DeleteNetworkResponse,
	error) {
	if err := s.networks.Delete(ctx, req.GetId()); err != nil {
		return nil, err
	}
	return &natv1.DeleteNetworkResponse{}, nil
}

// ListNetworks implements FirewallServiceServer.
func (s *Server) ListNetworks(ctx context.Context, _ *natv1.ListNetworksRequest) (*natv1.ListNetworksResponse, error) {
	all, err := s.networks.List(ctx)
	if err != nil {
		return nil, err
	}
	resp := &natv1.ListNetworksResponse{}
	for _, n := range all {
		resp.Networks = append(resp.Networks, networkTo(n))
	}
	return resp, nil
}
