package api

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress/limitpb"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

type sandboxHandler struct {
	networkv1.UnimplementedSandboxServiceServer
	sandboxes Sandboxes
}

// CreateSandbox creates a sandbox.
func (h *sandboxHandler) CreateSandbox(ctx context.Context,
	req *networkv1.CreateSandboxRequest) (*networkv1.CreateSandboxResponse, error) {
	wanted, err := requestIn(req)
	if err != nil {
		return nil, err
	}
	sb, err := h.sandboxes.Create(ctx, wanted)
	if err != nil {
		return nil, err
	}
	return &networkv1.CreateSandboxResponse{Sandbox: h.out(sb)}, nil
}

// ConnectEndpoint connects a sandbox to a network.
func (h *sandboxHandler) ConnectEndpoint(ctx context.Context,
	req *networkv1.ConnectEndpointRequest) (*networkv1.ConnectEndpointResponse, error) {
	spec, err := specIn(req.GetOwner(), req.GetEndpoint())
	if err != nil {
		return nil, err
	}
	sb, err := h.sandboxes.Connect(ctx, req.GetOwner(), spec)
	if err != nil {
		return nil, err
	}
	return &networkv1.ConnectEndpointResponse{Sandbox: h.out(sb)}, nil
}

// DisconnectEndpoint disconnects a sandbox from a network.
func (h *sandboxHandler) DisconnectEndpoint(ctx context.Context,
	req *networkv1.DisconnectEndpointRequest) (*networkv1.DisconnectEndpointResponse, error) {
	sb, err := h.sandboxes.Disconnect(ctx, req.GetOwner(), req.GetNetwork())
	if err != nil {
		return nil, err
	}
	return &networkv1.DisconnectEndpointResponse{Sandbox: h.out(sb)}, nil
}

// GetSandbox returns an owner's sandbox.
func (h *sandboxHandler) GetSandbox(_ context.Context,
	req *networkv1.GetSandboxRequest) (*networkv1.GetSandboxResponse, error) {
	sb, err := h.sandboxes.Get(req.GetOwner())
	if err != nil {
		return nil, err
	}
	return &networkv1.GetSandboxResponse{Sandbox: h.out(sb)}, nil
}

// ListSandboxes returns all sandboxes.
func (h *sandboxHandler) ListSandboxes(context.Context,
	*networkv1.ListSandboxesRequest) (*networkv1.ListSandboxesResponse, error) {
	out := &networkv1.ListSandboxesResponse{ReservationOwners: h.sandboxes.ReservationOwners()}
	for _, sb := range h.sandboxes.List() {
		out.Sandboxes = append(out.Sandboxes, h.out(sb))
	}
	return out, nil
}

// ReserveAddresses reserves static addresses for an owner.
func (h *sandboxHandler) ReserveAddresses(ctx context.Context,
	req *networkv1.ReserveAddressesRequest) (*networkv1.ReserveAddressesResponse, error) {
	specs, err := specsIn(req.GetOwner(), req.GetEndpoints())
	if err != nil {
		return nil, err
	}
	return &networkv1.ReserveAddressesResponse{}, h.sandboxes.Reserve(ctx, req.GetOwner(), specs)
}

// WatchSandboxes sends a notification without payload when sandboxes may need renumbering.
func (h *sandboxHandler) WatchSandboxes(_ *networkv1.WatchSandboxesRequest,
	to networkv1.SandboxService_WatchSandboxesServer) error {
	changed, stop := h.sandboxes.Watch()
	defer stop()

	for {
		select {
		case <-to.Context().Done():
			return to.Context().Err()
		case <-changed:
			if err := to.Send(&networkv1.WatchSandboxesResponse{}); err != nil {
				return err
			}
		}
	}
}

// RenumberSandbox adds the new addresses of an owner's sandbox.
func (h *sandboxHandler) RenumberSandbox(ctx context.Context,
	req *networkv1.RenumberSandboxRequest) (*networkv1.RenumberSandboxResponse, error) {
	sb, err := h.sandboxes.Renumber(ctx, req.GetOwner())
	if err != nil {
		return nil, err
	}
	return &networkv1.RenumberSandboxResponse{Sandbox: h.out(sb)}, nil
}

// CompleteRenumbering removes the former addresses of a sandbox.
func (h *sandboxHandler) CompleteRenumbering(ctx context.Context,
	req *networkv1.CompleteRenumberingRequest) (*networkv1.CompleteRenumberingResponse, error) {
	removed, err := h.sandboxes.CompleteRenumbering(ctx, req.GetOwner())
	if err != nil {
		return nil, err
	}
	return &networkv1.CompleteRenumberingResponse{RemovedAddresses: addrsOut(removed)}, nil
}

// CheckSandbox compares an owner's sandbox with its namespace.
func (h *sandboxHandler) CheckSandbox(_ context.Context,
	req *networkv1.CheckSandboxRequest) (*networkv1.CheckSandboxResponse, error) {
	sb, err := h.sandboxes.Get(req.GetOwner())
	if err != nil {
		return nil, err
	}
	differences, err := h.sandboxes.Compare(req.GetOwner())
	if err != nil {
		return nil, err
	}
	return &networkv1.CheckSandboxResponse{Sandbox: h.out(sb), Differences: differences}, nil
}

// SetBandwidth changes the limits of a sandbox.
func (h *sandboxHandler) SetBandwidth(_ context.Context,
	req *networkv1.SetBandwidthRequest) (*networkv1.SetBandwidthResponse, error) {
	limit := bandwidth.Limit{In: req.GetBandwidthIn(), Out: req.GetBandwidthOut(), None: req.GetBandwidthUnlimited()}
	return &networkv1.SetBandwidthResponse{}, h.sandboxes.SetBandwidth(req.GetOwner(), limit)
}

// Release removes all network resources of an owner.
func (h *sandboxHandler) Release(ctx context.Context,
	req *networkv1.ReleaseRequest) (*networkv1.ReleaseResponse, error) {
	if err := h.sandboxes.Release(ctx, req.GetOwner(),
		endpoint.ReleaseKeep{Namespace: req.GetKeepNamespace(), Addresses: req.GetKeepAddresses()}); err != nil {
		return nil, err
	}
	return &networkv1.ReleaseResponse{}, nil
}

// requestIn converts a request. An unknown mode becomes empty, and Request.Validate rejects it.
func requestIn(req *networkv1.CreateSandboxRequest) (endpoint.Request, error) {
	out := endpoint.Request{Owner: req.GetOwner(), OwnerName: req.GetOwnerName(), External: req.GetNetnsPath()}
	switch req.GetMode() {
	case networkv1.SandboxMode_SANDBOX_MODE_PRIVATE:
		out.Mode = endpoint.Private
	case networkv1.SandboxMode_SANDBOX_MODE_HOST:
		out.Mode = endpoint.Host
	case networkv1.SandboxMode_SANDBOX_MODE_EXTERNAL:
		out.Mode = endpoint.Private
	}

	if err := checkPath(req); err != nil {
		return out, err
	}

	var err error
	out.Endpoints, err = specsIn(req.GetOwner(), req.GetEndpoints())
	return out, err
}

func specsIn(owner string, all []*networkv1.EndpointSpec) ([]endpoint.Spec, error) {
	var out []endpoint.Spec
	for _, e := range all {
		spec, err := specIn(owner, e)
		if err != nil {
			return nil, err
		}
		out = append(out, spec)
	}
	return out, nil
}

func specIn(owner string, e *networkv1.EndpointSpec) (endpoint.Spec, error) {
	out := endpoint.Spec{Network: e.GetNetwork(), MAC: e.GetMacAddress(), Interface: e.GetInterfaceName(),
		Priority: int(e.GetGatewayPriority()),
		Sysctls:  e.GetSysctls(), Labels: e.GetLabels(),
		Bandwidth: bandwidth.Limit{In: e.GetBandwidthIn(), Out: e.GetBandwidthOut(), None: e.GetBandwidthUnlimited()}}
	for _, text := range e.GetLinkLocalAddresses() {
		addr, err := addrIn("sandbox of "+id.Short(owner), "link-local-ip", text)
		if err != nil {
			return out, err
		}
		out.LinkLocal = append(out.LinkLocal, addr)
	}

	for _, text := range e.GetAllowedAddresses() {
		subnet, err := prefixIn("sandbox of "+id.Short(owner), "allowed-addresses", text)
		if err != nil {
			return out, err
		}
		out.Allowed = append(out.Allowed, subnet.Masked())
	}

	var err error
	if out.IPv4, err = addrIn("sandbox of "+id.Short(owner), "ip", e.GetIpv4Address()); err != nil {
		return out, err
	}

	out.IPv6, err = addrIn("sandbox of "+id.Short(owner), "ip6", e.GetIpv6Address())
	return out, err
}

// out converts a sandbox and reports whether it needs renumbering.
func (h *sandboxHandler) out(sb endpoint.Sandbox) *networkv1.Sandbox {
	out := sandboxOut(sb)
	out.RenumberPending = h.sandboxes.NeedsRenumbering(sb)
	return out
}

func sandboxOut(sb endpoint.Sandbox) *networkv1.Sandbox {
	out := &networkv1.Sandbox{Owner: sb.Owner, NetnsOnly: sb.NetnsOnly, NetnsPath: sb.NetnsPath,
		Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE, ExternalPath: sb.External}
	switch {
	case sb.Mode == endpoint.Host:
		out.Mode = networkv1.SandboxMode_SANDBOX_MODE_HOST
	case sb.External != "":
		out.Mode = networkv1.SandboxMode_SANDBOX_MODE_EXTERNAL
	}

	for _, e := range sb.Endpoints {
		out.Endpoints = append(out.Endpoints,
			&networkv1.Endpoint{Id: e.ID, NetworkId: e.NetworkID, NetworkName: e.NetworkName,
				InterfaceName: e.Interface, HostInterface: e.HostInterface, MacAddress: e.MAC.String(),
				Ipv4Address: prefixOut(e.IPv4), Ipv4Gateway: addrOut(e.Gateway4),
				Ipv6Address: prefixOut(e.IPv6), Ipv6Gateway: addrOut(e.Gateway6), Bridge: e.Bridge,
				GatewayPriority: int32(e.Spec.Priority), StaticAddress: e.Spec.HasStaticAddress(),
				HostBinding: addrOut(e.HostBinding), Driver: e.Driver, Internal: e.Internal,
				Leases: leasesOut(e.Leases()), DnsServers: addrsOut(e.DNS), DnsSearch: e.Search(),
				Egress:          e.Egress,
				Limits:          limitpb.ToProto(e.Limits),
				DefaultLimits:   limitpb.ToProto(e.DefaultLimits),
				FormerAddresses: formerOut(e), Labels: e.Spec.Labels})
	}

	return out
}

func formerOut(e endpoint.Endpoint) []string {
	var out []string
	for _, p := range e.Former {
		out = append(out, p.Addr().String())
	}
	return out
}

func leasesOut(all []lease.Terms) []*networkv1.Lease {
	var out []*networkv1.Lease
	for _, t := range all {
		var routes []string
		for _, r := range t.Routes {
			routes = append(routes, r.String())
		}
		out = append(out, &networkv1.Lease{NameServers: addrsOut(t.Servers), Search: t.Search, Routes: routes,
			Protocol: t.Protocol, Address: prefixOut(t.Address), Server: addrOut(t.ServerAddr()),
			GrantedAt: timeOut(t.Granted),
			RenewAt:   timeOut(t.Renew), RebindAt: timeOut(t.Rebind), ExpireAt: timeOut(t.Expire)})
	}

	return out
}

// timeOut converts a time; zero is nil.
func timeOut(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
