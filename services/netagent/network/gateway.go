package network

import (
	"cmp"
	"net/netip"
	"slices"
)

// ChooseGateways gives each family's default route to one endpoint of a sandbox and takes it from the others, in a copy. nets
// are the endpoints' networks, in the same order. The highest priority wins; of equals, as in Docker, the one that has gateways
// of both families, and then the first network by name. An internal network leads nowhere.
func ChooseGateways(endpoints []Endpoint, nets []Network) []Endpoint {
	out := slices.Clone(endpoints)
	order := make([]int, len(out))
	for i := range out {
		out[i].Gateway4, out[i].Gateway6 = netip.Addr{}, netip.Addr{}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(out[b].Spec.Priority, out[a].Spec.Priority),
			cmp.Compare(len(leads(nets[b], out[b])), len(leads(nets[a], out[a]))), cmp.Compare(nets[a].Name, nets[b].Name))
	})
	has4, has6 := false, false
	for _, i := range order {
		for _, gw := range leads(nets[i], out[i]) {
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

// KeepGateways leaves the default route of each family with the endpoint that had it, in a copy of endpoints that were chosen anew: what
// has begun to leave by one network goes on to. The endpoints are the same, with other addresses; nets are their networks.
func KeepGateways(before, chosen []Endpoint, nets []Network) []Endpoint {
	out := slices.Clone(chosen)
	for i, e := range before {
		for _, gw := range leads(nets[i], out[i]) {
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

// leads are the gateways out of a network for an endpoint: those of the subnets that its addresses are in.
func leads(n Network, e Endpoint) []netip.Addr {
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
		case n.Routes():
			out = append(out, OnLink(p.Subnet.Addr().Is6()))
		case p.RouteVia().IsValid():
			out = append(out, p.RouteVia())
		}
	}
	return out
}
