package api

import (
	"context"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/egress/limitpb"
	"github.com/fairlead/fairlead/proto/fault"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

type networkHandler struct {
	networkv1.UnimplementedNetworkServiceServer
	networks  Networks
	sandboxes Sandboxes
	events    *events.Broker
	diagnose  func() []diagnosis.Finding
	check     func(ctx context.Context, repair bool) []diagnosis.Finding
	warn      func(network.Network) []string // about a new network; nil: none
}

// WatchEvents streams network events.
func (h *networkHandler) WatchEvents(req *networkv1.WatchEventsRequest,
	stream grpc.ServerStreamingServer[networkv1.WatchEventsResponse]) error {
	f, err := events.ParseFilter(req.GetFilters())
	if err != nil {
		return err
	}
	return h.events.Watch(stream.Context(), req.GetSince(), req.GetUntil(), f, func(e *eventv1.Event) error {
		return stream.Send(&networkv1.WatchEventsResponse{Event: e})
	})
}

// Check compares the store with the kernel.
func (h *networkHandler) Check(ctx context.Context, req *networkv1.CheckRequest) (*networkv1.CheckResponse, error) {
	if h.check == nil {
		return &networkv1.CheckResponse{}, nil
	}
	return &networkv1.CheckResponse{Findings: diagnosis.Proto(h.check(ctx, req.GetRepair()))}, nil
}

// Diagnose probes which networks the host supports.
func (h *networkHandler) Diagnose(context.Context, *networkv1.DiagnoseRequest) (*networkv1.DiagnoseResponse, error) {
	return &networkv1.DiagnoseResponse{Findings: diagnosis.Proto(h.diagnose())}, nil
}

// ListNetworks returns the networks that match filters, sorted by name.
func (h *networkHandler) ListNetworks(_ context.Context,
	req *networkv1.ListNetworksRequest) (*networkv1.ListNetworksResponse, error) {
	selected, err := parseFilter(req.GetFilters())
	if err != nil {
		return nil, err
	}
	out := &networkv1.ListNetworksResponse{}
	used := h.used(selected)
	warnings := h.networks.Warnings()
	for _, n := range h.networks.List() {
		if !fits(selected, n, used) {
			continue
		}
		one := h.out(n)
		one.Warnings = warnings(n)
		out.Networks = append(out.Networks, one)
	}
	return out, nil
}

// GetNetwork returns a network.
func (h *networkHandler) GetNetwork(_ context.Context,
	req *networkv1.GetNetworkRequest) (*networkv1.GetNetworkResponse, error) {
	if req.GetReference() == "" {
		return nil, fault.Invalidf("network", "reference", "reference is missing")
	}
	n, err := h.networks.Find(req.GetReference())
	if err != nil {
		return nil, err
	}
	return &networkv1.GetNetworkResponse{Network: h.out(n)}, nil
}

// CreateNetwork creates a network.
func (h *networkHandler) CreateNetwork(ctx context.Context,
	req *networkv1.CreateNetworkRequest) (*networkv1.CreateNetworkResponse, error) {
	wanted, err := wantedIn(req)
	if err != nil {
		return nil, err
	}
	n, err := h.networks.Create(ctx, wanted)
	if err != nil {
		return nil, err
	}
	created := h.out(n)
	if h.warn != nil {
		created.Warnings = h.warn(n)
	}
	return &networkv1.CreateNetworkResponse{Network: created}, nil
}

// UpdateNetwork updates a network.
func (h *networkHandler) UpdateNetwork(ctx context.Context,
	req *networkv1.UpdateNetworkRequest) (*networkv1.UpdateNetworkResponse, error) {
	if req.GetReference() == "" {
		return nil, fault.Invalidf("network", "reference", "reference is missing")
	}

	edit := network.Update{Labels: req.GetLabels(), IPv6: req.GetIpv6(), Renumber: req.GetRenumber(),
		Egress: req.GetEgress(), Limits: limitpb.FromProto(req.GetLimits())}
	if req.Mtu != nil {
		mtu := int(req.GetMtu())
		edit.MTU = &mtu
	}

	for _, text := range req.GetSubnets() {
		subnet, err := prefixIn("network "+req.GetReference(), "subnet", text)
		if err != nil {
			return nil, err
		}
		edit.Subnets = append(edit.Subnets, subnet)
	}

	if req.Dns != nil {
		servers, err := addrsIn("network "+req.GetReference(), "dns", req.GetDns().GetAddresses())
		if err != nil {
			return nil, err
		}
		edit.DNS = &servers
	}

	n, err := h.networks.Update(ctx, req.GetReference(), edit)
	if err != nil {
		return nil, err
	}

	return &networkv1.UpdateNetworkResponse{Network: h.out(n)}, nil
}

// WaitNetwork waits until all containers of a network are renumbered.
func (h *networkHandler) WaitNetwork(ctx context.Context,
	req *networkv1.WaitNetworkRequest) (*networkv1.WaitNetworkResponse, error) {
	if req.GetReference() == "" {
		return nil, fault.Invalidf("network", "reference", "reference is missing")
	}
	n, err := h.networks.WaitConverged(ctx, req.GetReference())
	if err != nil {
		return nil, err
	}
	return &networkv1.WaitNetworkResponse{Network: h.out(n)}, nil
}

// DeleteNetwork deletes a network.
func (h *networkHandler) DeleteNetwork(ctx context.Context,
	req *networkv1.DeleteNetworkRequest) (*networkv1.DeleteNetworkResponse, error) {
	if req.GetReference() == "" {
		return nil, fault.Invalidf("network", "reference", "reference is missing")
	}
	networkID, err := h.networks.Delete(ctx, req.GetReference())
	if err != nil {
		return nil, err
	}
	return &networkv1.DeleteNetworkResponse{Id: networkID}, nil
}

// PruneNetworks deletes unused networks.
func (h *networkHandler) PruneNetworks(ctx context.Context,
	req *networkv1.PruneNetworksRequest) (*networkv1.PruneNetworksResponse, error) {
	s := network.Filter{Labels: req.GetLabels(), Without: req.GetExcludeLabels()}
	if req.GetUntil() != nil {
		s.Before = req.GetUntil().AsTime()
	}
	deleted, err := h.networks.Prune(ctx, s)
	if err != nil {
		return nil, err
	}
	return &networkv1.PruneNetworksResponse{Deleted: deleted}, nil
}

// out converts a network with its pool usage.
func (h *networkHandler) out(n network.Network) *networkv1.Network {
	out := networkOut(n)
	for i, c := range h.networks.PoolUsage(n) {
		out.Pools[i].Used, out.Pools[i].Free = c.Used, c.Free
	}
	return out
}

func networkOut(n network.Network) *networkv1.Network {
	bridge := n.Bridge()
	out := &networkv1.Network{Id: n.ID, Name: n.Name, Driver: n.Driver, Scope: string(n.Scope),
		Predefined: n.IsPredefined(), ConfigOnly: n.IsConfigOnly(), CreatedAt: timestamppb.New(n.CreatedAt),
		Bridge: bridge.Device, Masquerade: bridge.Masquerade, Icc: n.ICC(),
		HostBinding: addrOut(bridge.HostBinding), Mtu: uint32(n.Spec.MTU), Internal: n.Spec.Internal,
		Labels: n.Spec.Labels, Options: n.Spec.Options, ConfigFrom: n.Spec.ConfigFrom,
		Ipv4: n.HasIPv4(), Ipv6: n.HasIPv6(), IpamDriver: n.IPAM(),
		Attachable: n.Spec.Attachable || n.IsGlobal(), IpamOptions: n.Spec.IPAMOptions}
	for _, p := range n.Spec.Pools {
		out.Pools = append(out.Pools, poolOut(p))
	}

	for _, p := range n.Status.Former {
		out.FormerPools = append(out.FormerPools, poolOut(p))
	}

	out.Dns, out.Egress, out.Limits = addrsOut(n.Spec.DNS), n.Spec.Egress, limitpb.ToProto(n.Spec.Limits)
	return out
}

func poolOut(p network.Pool) *networkv1.Pool {
	out := &networkv1.Pool{Subnet: prefixOut(p.Subnet), IpRange: prefixOut(p.Range), Gateway: addrOut(p.Gateway),
		ContainerGateway: addrOut(p.ContainerGateway)}
	for name, a := range p.Aux {
		if out.AuxAddresses == nil {
			out.AuxAddresses = map[string]string{}
		}
		out.AuxAddresses[name] = a.String()
	}
	if p.GrowLimit.IsValid() && p.GrowLimit.Bits() < p.Subnet.Bits() {
		out.GrowLimit = prefixOut(p.GrowLimit)
	}
	return out
}

func addrsOut(all []netip.Addr) []string {
	var out []string
	for _, a := range all {
		out = append(out, a.String())
	}
	return out
}

// addrOut formats an address; zero is empty.
func addrOut(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// prefixOut formats a prefix; zero is empty.
func prefixOut(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}
