package network

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// ChooseGateways gives each family's default route to one endpoint of a sandbox and takes it from the others, in a copy. nets
// are the endpoints' networks, in the same order. The highest priority wins; of equals, as in Docker, the one that has gateways
// of both families, and then the first network by name. An internal network leads nowhere.
func ChooseGateways(endpoints []Endpoint, nets []Network) []Endpoint {
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

// inOrder are the places of endpoints, whose default route counts most first.
func inOrder(endpoints []Endpoint, nets []Network) []int {
	order := make([]int, len(endpoints))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := endpoints[a], endpoints[b]
		return cmp.Or(cmp.Compare(y.Spec.Priority, x.Spec.Priority), cmp.Compare(len(gatewaysFor(nets[b], y)), len(gatewaysFor(nets[a], x))),
			cmp.Compare(nets[a].Name, nets[b].Name))
	})
	return order
}

// ChooseRoutes gives endpoints the routes that their LANs tell, in a copy. Of several to one place the one counts whose endpoint has the
// default route before the others. None leads away what is in a subnet of another endpoint, nor by a router that is not on the link.
func ChooseRoutes(endpoints []Endpoint, nets []Network) []Endpoint {
	out, led := slices.Clone(endpoints), map[netip.Prefix]bool{}
	for i := range out {
		out[i].Routes = nil
	}
	for _, i := range inOrder(out, nets) {
		for _, t := range out[i].Leases() {
			for _, r := range t.Routes {
				if nets[i].Internal || led[r.To] || inOtherSubnet(r.To, out, i) || !out[i].onLink(r.Via) {
					continue
				}
				led[r.To], out[i].Routes = true, append(out[i].Routes, r)
			}
		}
	}
	return out
}

// inOtherSubnet tells whether a place is in a subnet that another endpoint than this one is in.
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

// onLink tells whether the endpoint reaches a router by its interface alone. Not valid is the link itself.
func (e Endpoint) onLink(via netip.Addr) bool {
	return !via.IsValid() || slices.ContainsFunc(e.Addresses(), func(p netip.Prefix) bool { return p.Contains(via) }) ||
		slices.ContainsFunc(e.Routes, func(r lease.Route) bool { return !r.Via.IsValid() && r.To.Contains(via) })
}

// KeepGateways leaves the default route of each family with the endpoint that had it, in a copy of endpoints that were chosen anew: what
// has begun to leave by one network goes on to. The endpoints are the same, with other addresses; nets are their networks.
func KeepGateways(before, chosen []Endpoint, nets []Network) []Endpoint {
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

// gatewaysFor are the gateways out of a network for an endpoint: those of the subnets that its addresses are in.
func gatewaysFor(n Network, e Endpoint) []netip.Addr {
	if n.Internal {
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
			continue // in another one, or of a family that it has not got yet
		}
		switch {
		case n.IsL3():
			out = append(out, OnLink(p.Subnet.Addr().Is6()))
		case p.ContainerGatewayAddr().IsValid():
			out = append(out, p.ContainerGatewayAddr())
		}
	}
	return out
}
