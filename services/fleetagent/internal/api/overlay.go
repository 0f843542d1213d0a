package api

import (
	"context"
	"net/netip"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// Overlay serves the calls of OverlayService. It is implemented by fleet.Fleet.
type Overlay interface {
	WatchOverlay(ctx context.Context, send func(*fleetv1.WatchOverlayResponse) error) error
	WatchEndpoints(ctx context.Context, send func(*fleetv1.WatchEndpointsResponse) error) error
	PublishHost(ctx context.Context, info *fleetv1.HostInfo, probed int) error
	CreateNetwork(ctx context.Context, n *fleetv1.OverlayNetwork, ipv6 bool) (*fleetv1.OverlayNetwork, []string, error)
	UpdateNetwork(ctx context.Context, r *fleetv1.UpdateNetworkRequest) (*fleetv1.OverlayNetwork, error)
	RemoveNetwork(ctx context.Context, network string) error
	MarkNetworkUp(ctx context.Context, network string) error
	ConfirmNetworkRemoved(ctx context.Context, network string) error
	ClaimBlock(ctx context.Context, network string, subnet, exact netip.Prefix) (*fleetv1.OverlayBlock, error)
	ReleaseBlock(ctx context.Context, network string, p netip.Prefix, to string) error
	ReportUsage(ctx context.Context, all []*fleetv1.BlockUsage) error
	PublishEndpoints(ctx context.Context, r *fleetv1.PublishEndpointsRequest) error
}

type overlayServer struct {
	fleetv1.UnimplementedOverlayServiceServer
	overlay Overlay
}

// WatchOverlay streams the view of the host.
func (s *overlayServer) WatchOverlay(_ *fleetv1.WatchOverlayRequest,
	stream grpc.ServerStreamingServer[fleetv1.WatchOverlayResponse]) error {
	return s.overlay.WatchOverlay(stream.Context(), stream.Send)
}

// WatchEndpoints streams the endpoints of other hosts.
func (s *overlayServer) WatchEndpoints(_ *fleetv1.WatchEndpointsRequest,
	stream grpc.ServerStreamingServer[fleetv1.WatchEndpointsResponse]) error {
	return s.overlay.WatchEndpoints(stream.Context(), stream.Send)
}

// PublishHost stores what other hosts must know of this one.
func (s *overlayServer) PublishHost(ctx context.Context, req *fleetv1.PublishHostRequest) (
	*fleetv1.PublishHostResponse, error) {
	return &fleetv1.PublishHostResponse{}, s.overlay.PublishHost(ctx, &fleetv1.HostInfo{Routes: req.GetRoutes(),
		UnderlayMtu: req.GetUnderlayMtu(), TunnelKeys: req.GetTunnelKeys(), Problems: req.GetProblems()},
		int(req.GetProbed()))
}

// CreateNetwork creates a network on all hosts.
func (s *overlayServer) CreateNetwork(ctx context.Context, req *fleetv1.CreateNetworkRequest) (
	*fleetv1.CreateNetworkResponse, error) {
	if req.GetNetwork() == nil {
		return nil, fault.Invalidf("network", "network", "is missing")
	}
	n, warnings, err := s.overlay.CreateNetwork(ctx, req.GetNetwork(), req.GetIpv6())
	if err != nil {
		return nil, err
	}
	return &fleetv1.CreateNetworkResponse{Network: n, Warnings: warnings}, nil
}

// UpdateNetwork changes a network.
func (s *overlayServer) UpdateNetwork(ctx context.Context, req *fleetv1.UpdateNetworkRequest) (
	*fleetv1.UpdateNetworkResponse, error) {
	n, err := s.overlay.UpdateNetwork(ctx, req)
	if err != nil {
		return nil, err
	}
	return &fleetv1.UpdateNetworkResponse{Network: n}, nil
}

// RemoveNetwork deletes a network.
func (s *overlayServer) RemoveNetwork(ctx context.Context, req *fleetv1.RemoveNetworkRequest) (
	*fleetv1.RemoveNetworkResponse, error) {
	return &fleetv1.RemoveNetworkResponse{}, s.overlay.RemoveNetwork(ctx, req.GetNetworkId())
}

// MarkNetworkUp records that this host has a network.
func (s *overlayServer) MarkNetworkUp(ctx context.Context, req *fleetv1.MarkNetworkUpRequest) (
	*fleetv1.MarkNetworkUpResponse, error) {
	return &fleetv1.MarkNetworkUpResponse{}, s.overlay.MarkNetworkUp(ctx, req.GetNetworkId())
}

// ConfirmNetworkRemoved records that this host has nothing left of a network.
func (s *overlayServer) ConfirmNetworkRemoved(ctx context.Context, req *fleetv1.ConfirmNetworkRemovedRequest) (
	*fleetv1.ConfirmNetworkRemovedResponse, error) {
	return &fleetv1.ConfirmNetworkRemovedResponse{}, s.overlay.ConfirmNetworkRemoved(ctx, req.GetNetworkId())
}

// ClaimBlock makes a block this host's.
func (s *overlayServer) ClaimBlock(ctx context.Context, req *fleetv1.ClaimBlockRequest) (*fleetv1.ClaimBlockResponse,
	error) {
	subnet, exact, err := parseClaim(req.GetSubnet(), req.GetPrefix())
	if err != nil {
		return nil, err
	}
	b, err := s.overlay.ClaimBlock(ctx, req.GetNetworkId(), subnet, exact)
	if err != nil {
		return nil, err
	}
	return &fleetv1.ClaimBlockResponse{Block: b}, nil
}

// ReleaseBlock returns a block, or gives a part of one to another host.
func (s *overlayServer) ReleaseBlock(ctx context.Context, req *fleetv1.ReleaseBlockRequest) (
	*fleetv1.ReleaseBlockResponse, error) {
	p, err := parsePrefix("block", req.GetPrefix())
	if err != nil {
		return nil, err
	}
	return &fleetv1.ReleaseBlockResponse{}, s.overlay.ReleaseBlock(ctx, req.GetNetworkId(), p, req.GetToHostId())
}

// ReportUsage replaces what is known about the use of this host's blocks.
func (s *overlayServer) ReportUsage(ctx context.Context, req *fleetv1.ReportUsageRequest) (
	*fleetv1.ReportUsageResponse, error) {
	return &fleetv1.ReportUsageResponse{}, s.overlay.ReportUsage(ctx, req.GetBlocks())
}

// PublishEndpoints changes the endpoints of this host.
func (s *overlayServer) PublishEndpoints(ctx context.Context, req *fleetv1.PublishEndpointsRequest) (
	*fleetv1.PublishEndpointsResponse, error) {
	return &fleetv1.PublishEndpointsResponse{}, s.overlay.PublishEndpoints(ctx, req)
}

// parseClaim reads the prefixes of a claim. The exact one is optional.
func parseClaim(subnet, exact string) (s, p netip.Prefix, err error) {
	if s, err = parsePrefix("subnet", subnet); err != nil || exact == "" {
		return s, p, err
	}
	p, err = parsePrefix("block", exact)
	return s, p, err
}

func parsePrefix(what, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() || p.Addr().Is4In6() {
		return p, fault.Invalidf(what+" "+text, "prefix", "is not a prefix such as 10.128.0.0/28")
	}
	return p, nil
}
