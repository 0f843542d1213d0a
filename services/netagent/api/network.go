package api

import (
	"context"
	"net/netip"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/agent/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/netagent/network"
)

type networkHandler struct {
	networkv1.UnimplementedNetworkServiceServer
	networks Networks
}

// ListNetworks answers all networks, by name.
func (h *networkHandler) ListNetworks(context.Context, *networkv1.ListNetworksRequest) (*networkv1.ListNetworksResponse, error) {
	out := &networkv1.ListNetworksResponse{}
	for _, n := range h.networks.List() {
		out.Networks = append(out.Networks, networkOut(n))
	}
	return out, nil
}

// GetNetwork answers one.
func (h *networkHandler) GetNetwork(_ context.Context, req *networkv1.GetNetworkRequest) (*networkv1.GetNetworkResponse, error) {
	if req.GetReference() == "" {
		return nil, fault.Invalidf("network", "reference", "none was given")
	}
	n, err := h.networks.Find(req.GetReference())
	if err != nil {
		return nil, err
	}
	return &networkv1.GetNetworkResponse{Network: networkOut(n)}, nil
}

func networkOut(n network.Network) *networkv1.Network {
	out := &networkv1.Network{Id: n.ID, Name: n.Name, Driver: n.Driver, Predefined: n.Predefined, Bridge: n.Bridge,
		Mtu: uint32(n.MTU), Masquerade: n.Masquerade, InterContainer: n.InterContainer, CreatedAt: timestamppb.New(n.CreatedAt)}
	for _, p := range n.Pools {
		out.Pools = append(out.Pools, &networkv1.Pool{Subnet: prefixOut(p.Subnet), IpRange: prefixOut(p.Range),
			Gateway: addrOut(p.Gateway), ContainerGateway: addrOut(p.ContainerGateway)})
	}
	return out
}

// addrOut writes an address, an invalid one as nothing.
func addrOut(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// prefixOut writes a prefix, an invalid one as nothing.
func prefixOut(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}
