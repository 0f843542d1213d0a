package endpoint

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// ChooseGateways assigns the default route of each family to one endpoint of a sandbox, in a copy.
// nets holds the endpoints' networks in the same order.
// The highest gateway priority wins. As in Docker, ties go to the endpoint with gateways of both
// families, then to the first network by name. Internal networks have no gateway.
func ChooseGateways(endpoints []Endpoint, nets []network.Network) []Endpoint {
	out := slices.Clone(endpoints)
	for i := range out {
		out[i].Gateway4, out[i].Gateway6 = netip.Addr{}, netip.Addr{}
	}

	has4, has6 := false, false
	for _, i := range inOrder(out, nets) {
		for _, gw := range gatewaysFor(nets[i], out[i]) {
			switch {
			case gw.Is4() && !has4:
				out[i].Gateway4, has4 = gw, true
			case gw.Is6() && !has6:
				out[i].Gateway6, has6 = gw, true
			}
		}
	}

	return out
}

// inOrder returns the indices of the endpoints by precedence of their default route.
func inOrder(endpoints []Endpoint, nets []network.Network) []int {
	order := make([]int, len(endpoints))
	for i := range order {
		order[i] = i
	}

	slices.SortStableFunc(order, func(a, b int) int {
		x, y := endpoints[a], endpoints[b]
		return cmp.Or(cmp.Compare(y.Spec.Priority, x.Spec.Priority),
			cmp.Compare(len(gatewaysFor(nets[b], y)), len(gatewaysFor(nets[a], x))),
			cmp.Compare(nets[a].Name, nets[b].Name))
	})

	return order
}

// ChooseRoutes assigns the routes of the leases to the endpoints, in a copy. Of several routes to
// one destination it keeps that of the endpoint with the highest precedence. It drops routes into
// the subnet of another endpoint and routes whose gateway is not on-link.
func ChooseRoutes(endpoints []Endpoint, nets []network.Network) []Endpoint {
	out, assigned := slices.Clone(endpoints), map[netip.Prefix]bool{}
	for i := range out {
		out[i].Routes = nil
	}

	for _, i := range inOrder(out, nets) {
		for _, t := range out[i].Leases() {
			for _, r := range t.Routes {
				if nets[i].Spec.Internal || assigned[r.To] || inOtherSubnet(r.To, out, i) || !out[i].onLink(r.Via) {
					continue
				}
				assigned[r.To], out[i].Routes = true, append(out[i].Routes, r)
			}
		}
	}

	return out
}

// inOtherSubnet reports whether a destination is in the subnet of another endpoint than this one.
func inOtherSubnet(to netip.Prefix, all []Endpoint, this int) bool {
	for i, e := range all {
		for _, p := range e.AllAddresses() {
			if i != this && p.Masked().Contains(to.Addr()) && p.Bits() <= to.Bits() {
				return true
			}
		}
	}
	return false
}

// onLink reports whether a gateway is reachable without another gateway. Zero denotes an on-link
// route.
func (e Endpoint) onLink(via netip.Addr) bool {
	return !via.IsValid() || slices.ContainsFunc(e.Addresses(), func(p netip.Prefix) bool { return p.Contains(via) }) ||
		slices.ContainsFunc(e.Routes, func(r lease.Route) bool { return !r.Via.IsValid() && r.To.Contains(via) })
}

// KeepGateways leaves the default route of each family with the endpoint that had it. It changes a
// copy of chosen. The egress interface stays stable while addresses change. before and chosen hold
// the same endpoints; nets holds their networks.
func KeepGateways(before, chosen []Endpoint, nets []network.Network) []Endpoint {
	out := slices.Clone(chosen)
	for i, e := range before {
		for _, gw := range gatewaysFor(nets[i], out[i]) {
			for j := range out {
				switch {
				case gw.Is4() && e.Gateway4.IsValid():
					out[j].Gateway4 = netip.Addr{}
					out[i].Gateway4 = gw
				case gw.Is6() && e.Gateway6.IsValid():
					out[j].Gateway6 = netip.Addr{}
					out[i].Gateway6 = gw
				}
			}
		}
	}

	return out
}

// gatewaysFor returns the endpoint's gateways on a network. They come from its leases and the
// subnets of its addresses.
func gatewaysFor(n network.Network, e Endpoint) []netip.Addr {
	if n.Spec.Internal {
		return nil
	}

	var out []netip.Addr
	for _, t := range e.Leases() {
		if t.Router.IsValid() {
			out = append(out, t.Router)
		}
	}

	for _, p := range n.AllPools() {
		at := e.addressOf(p.Subnet.Addr().Is6())
		if at.IsValid() && !p.Subnet.Contains(at.Addr()) || !at.IsValid() && len(e.Addresses()) > 0 {
			continue // the endpoint has no address in this pool
		}
		switch {
		case n.IsL3():
			out = append(out, network.OnLink(p.Subnet.Addr().Is6()))
		case p.ContainerGatewayAddr().IsValid():
			out = append(out, p.ContainerGatewayAddr())
		}
	}

	return out
}
