// Package api serves fleetagent's gRPC services: FleetService to administrators of this host,
// OverlayService to its other services and, on a listener of its own, EnrollService and ClaimService
// to other hosts. It also has the client of the last two.
// It decides nothing.
package api

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// Fleet serves the calls of FleetService. It is implemented by fleet.Fleet.
type Fleet interface {
	Init(ctx context.Context, address, name string, addressSpace []string, store *external.Store) (fleet string,
		host *fleetv1.Host, token string, err error)
	// BlockedPorts returns warnings about ports that the firewall of this host closes.
	BlockedPorts(ctx context.Context) []string
	UpdateStore(ctx context.Context, changed *external.Store) error
	Join(ctx context.Context, token, address, name string) (fleet string, host *fleetv1.Host, warnings []string,
		err error)
	Leave(ctx context.Context, force bool) error
	Get(ctx context.Context) (*fleetv1.GetFleetResponse, error)
	Hosts(ctx context.Context) (hosts []*fleetv1.Host, outdated string, err error)
	Endpoints(ctx context.Context, network string) ([]*fleetv1.HostEndpoint, error)
	IssueToken(ctx context.Context, valid time.Duration, uses uint32, role token.Role) (word string,
		expires time.Time, err error)
	PromoteHost(ctx context.Context, reference string) (*fleetv1.Host, error)
	DemoteHost(ctx context.Context, reference string) (*fleetv1.Host, error)
	Diagnose(ctx context.Context) ([]*hostv1.Finding, error)
	CreateCertificate(ctx context.Context, name string, valid time.Duration) (*fleetv1.CreateCertificateResponse, error)
	RevokeCertificate(ctx context.Context, name string) error
	Backup(ctx context.Context) ([]byte, error)
	Restore(ctx context.Context, data []byte, address string) (fleet string, host *fleetv1.Host, err error)
	Recover(ctx context.Context) error
	RemoveHost(ctx context.Context, reference string, force bool) (*fleetv1.Host, error)
	Node(ctx context.Context, name string) (Conn, error)
}

// Server serves FleetService and OverlayService.
type Server struct {
	fleet   *fleetServer
	overlay *overlayServer
}

// Node returns a connection to the agent of another host, and nil for this host.
func (s *Server) Node(ctx context.Context, name string) (Conn, error) {
	return s.fleet.fleet.Node(ctx, name)
}

// New returns the server of a host's part in a fleet.
func New(f Fleet, o Overlay, e *events.Broker) *Server {
	return &Server{&fleetServer{fleet: f, events: e}, &overlayServer{overlay: o}}
}

// Register adds both services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	fleetv1.RegisterFleetServiceServer(r, s.fleet)
	fleetv1.RegisterOverlayServiceServer(r, s.overlay)
}

type fleetServer struct {
	fleetv1.UnimplementedFleetServiceServer
	fleet  Fleet
	events *events.Broker
}

// WatchFleetEvents streams the events of the fleet.
func (s *fleetServer) WatchFleetEvents(req *fleetv1.WatchFleetEventsRequest,
	stream grpc.ServerStreamingServer[fleetv1.WatchFleetEventsResponse]) error {
	f, err := events.ParseFilter(req.GetFilters())
	if err != nil {
		return err
	}
	return s.events.Watch(stream.Context(), req.GetSince(), req.GetUntil(), f, func(e *eventv1.Event) error {
		return stream.Send(&fleetv1.WatchFleetEventsResponse{Event: e})
	})
}

// InitFleet creates a fleet.
func (s *fleetServer) InitFleet(ctx context.Context, req *fleetv1.InitFleetRequest) (*fleetv1.InitFleetResponse,
	error) {
	fleet, host, token, err := s.fleet.Init(ctx, req.GetAddress(), req.GetName(), req.GetAddressSpace(),
		external.Of(req.GetExternalStore()))
	if err != nil {
		return nil, err
	}
	return &fleetv1.InitFleetResponse{FleetId: fleet, Host: host, Token: token,
		Warnings: s.fleet.BlockedPorts(ctx)}, nil
}

// UpdateStore replaces the credentials of the external store.
func (s *fleetServer) UpdateStore(ctx context.Context, req *fleetv1.UpdateStoreRequest) (
	*fleetv1.UpdateStoreResponse, error) {
	changed := external.Of(req.GetExternalStore())
	if changed == nil {
		return nil, fault.Invalidf("store", "external_store", "is missing")
	}
	return &fleetv1.UpdateStoreResponse{}, s.fleet.UpdateStore(ctx, changed)
}

// JoinFleet joins a fleet.
func (s *fleetServer) JoinFleet(ctx context.Context, req *fleetv1.JoinFleetRequest) (*fleetv1.JoinFleetResponse,
	error) {
	fleet, host, warnings, err := s.fleet.Join(ctx, req.GetToken(), req.GetAddress(), req.GetName())
	if err != nil {
		return nil, err
	}
	return &fleetv1.JoinFleetResponse{FleetId: fleet, Host: host, Warnings: warnings}, nil
}

// LeaveFleet leaves the fleet.
func (s *fleetServer) LeaveFleet(ctx context.Context, req *fleetv1.LeaveFleetRequest) (*fleetv1.LeaveFleetResponse,
	error) {
	return &fleetv1.LeaveFleetResponse{}, s.fleet.Leave(ctx, req.GetForce())
}

// GetFleet returns what this host knows of its fleet.
func (s *fleetServer) GetFleet(ctx context.Context, _ *fleetv1.GetFleetRequest) (*fleetv1.GetFleetResponse, error) {
	return s.fleet.Get(ctx)
}

// ListEndpoints returns the endpoints of a network on all hosts.
func (s *fleetServer) ListEndpoints(ctx context.Context, req *fleetv1.ListEndpointsRequest) (
	*fleetv1.ListEndpointsResponse, error) {
	all, err := s.fleet.Endpoints(ctx, req.GetNetworkId())
	if err != nil {
		return nil, err
	}
	return &fleetv1.ListEndpointsResponse{Endpoints: all}, nil
}

// ListHosts returns the hosts of the fleet.
func (s *fleetServer) ListHosts(ctx context.Context, _ *fleetv1.ListHostsRequest) (*fleetv1.ListHostsResponse, error) {
	hosts, outdated, err := s.fleet.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	return &fleetv1.ListHostsResponse{Hosts: hosts, Outdated: outdated}, nil
}

// CreateToken returns a new join token.
func (s *fleetServer) CreateToken(ctx context.Context, req *fleetv1.CreateTokenRequest) (*fleetv1.CreateTokenResponse,
	error) {
	valid := time.Hour
	if req.GetValid() != nil {
		valid = req.GetValid().AsDuration()
	}
	role := token.Member
	if req.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER {
		role = token.Manager
	}
	word, expires, err := s.fleet.IssueToken(ctx, valid, max(1, req.GetUses()), role)
	if err != nil {
		return nil, err
	}
	return &fleetv1.CreateTokenResponse{Token: word, Expires: timestamppb.New(expires)}, nil
}

// PromoteHost makes a member a manager.
func (s *fleetServer) PromoteHost(ctx context.Context,
	req *fleetv1.PromoteHostRequest) (*fleetv1.PromoteHostResponse, error) {
	host, err := s.fleet.PromoteHost(ctx, req.GetReference())
	if err != nil {
		return nil, err
	}
	return &fleetv1.PromoteHostResponse{Host: host}, nil
}

// DemoteHost makes a manager a member.
func (s *fleetServer) DemoteHost(ctx context.Context,
	req *fleetv1.DemoteHostRequest) (*fleetv1.DemoteHostResponse, error) {
	host, err := s.fleet.DemoteHost(ctx, req.GetReference())
	if err != nil {
		return nil, err
	}
	return &fleetv1.DemoteHostResponse{Host: host}, nil
}

// DiagnoseFleet checks the connections of this host.
func (s *fleetServer) DiagnoseFleet(ctx context.Context,
	_ *fleetv1.DiagnoseFleetRequest) (*fleetv1.DiagnoseFleetResponse, error) {
	found, err := s.fleet.Diagnose(ctx)
	if err != nil {
		return nil, err
	}
	return &fleetv1.DiagnoseFleetResponse{Findings: found}, nil
}

// CreateCertificate issues a certificate to a person.
func (s *fleetServer) CreateCertificate(ctx context.Context,
	req *fleetv1.CreateCertificateRequest) (*fleetv1.CreateCertificateResponse, error) {
	return s.fleet.CreateCertificate(ctx, req.GetName(), req.GetValid().AsDuration())
}

// RevokeCertificate ends the rights of a person.
func (s *fleetServer) RevokeCertificate(ctx context.Context,
	req *fleetv1.RevokeCertificateRequest) (*fleetv1.RevokeCertificateResponse, error) {
	if err := s.fleet.RevokeCertificate(ctx, req.GetName()); err != nil {
		return nil, err
	}
	return &fleetv1.RevokeCertificateResponse{}, nil
}

// RemoveHost removes a host.
func (s *fleetServer) RemoveHost(ctx context.Context, req *fleetv1.RemoveHostRequest) (*fleetv1.RemoveHostResponse,
	error) {
	host, err := s.fleet.RemoveHost(ctx, req.GetReference(), req.GetForce())
	if err != nil {
		return nil, err
	}
	return &fleetv1.RemoveHostResponse{Host: host}, nil
}
