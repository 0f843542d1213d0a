package endpoint

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// DropUnusedFormer returns the network without the former pools in which no endpoint has an
// address.
func DropUnusedFormer(n network.Network, sandboxes []Sandbox) network.Network {
	used := func(p network.Pool) bool {
		return slices.ContainsFunc(sandboxes, func(sb Sandbox) bool {
			return slices.ContainsFunc(sb.Endpoints, func(e Endpoint) bool {
				return e.NetworkID == n.ID && slices.ContainsFunc(e.AllAddresses(), func(a netip.Prefix) bool {
					return p.Subnet.Contains(a.Addr())
				})
			})
		})
	}

	n.Status.Former = slices.DeleteFunc(slices.Clone(n.Status.Former), func(p network.Pool) bool { return !used(p) })
	if len(n.Status.Former) == 0 {
		n.Status.Former, n.Status.Renumbering = nil, false
	}

	return n
}

// WithCurrentAddrs returns the request with its static addresses translated by CurrentAddr.
func (s Spec) WithCurrentAddrs(n network.Network) Spec {
	s.IPv4, s.IPv6 = n.CurrentAddr(s.IPv4), n.CurrentAddr(s.IPv6)
	return s
}

// NeedsRenumbering reports whether the endpoint needs other addresses on the network. It does if it
// lacks an address family, has an address of a former pool, or its renumbering is incomplete.
func (e Endpoint) NeedsRenumbering(n network.Network) bool {
	if e.Renumbering {
		return true
	}

	for _, is6 := range []bool{false, true} {
		has, pooled, inPool := e.addressOf(is6), false, false
		for _, p := range n.Spec.Pools {
			if p.Subnet.Addr().Is6() == is6 {
				pooled, inPool = true, inPool || has.IsValid() && p.Subnet.Contains(has.Addr())
			}
		}
		if pooled && !has.IsValid() && len(e.Addresses()) > 0 || has.IsValid() && !inPool && n.Status.Renumbering {
			return true
		}
	}

	return false
}

// WithNewAddr returns the endpoint with a new address. The address that it replaces becomes a
// former one. The MAC address follows the first address, unless the user chose one.
func (e Endpoint) WithNewAddr(p netip.Prefix) Endpoint {
	had := &e.IPv4
	if p.Addr().Is6() {
		had = &e.IPv6
	}

	if had.IsValid() {
		e.Former = append(slices.Clip(e.Former), *had) // copies of e share the list
	}

	*had = p
	if e.Spec.MAC == "" {
		e.MAC = network.MACOf(e.Addresses()[0].Addr())
	}

	return e
}

// RestoreAddr returns the endpoint with a former address in one of the pools as its current
// address. ok is false if it has none.
func (e Endpoint) RestoreAddr(pools []network.Pool) (Endpoint, bool) {
	for _, p := range pools {
		i := slices.IndexFunc(e.Former, func(a netip.Prefix) bool { return p.Subnet.Contains(a.Addr()) })
		if i >= 0 {
			again := netip.PrefixFrom(e.Former[i].Addr(), p.Subnet.Bits())
			e.Former = slices.Delete(slices.Clone(e.Former), i, i+1)
			return e.WithNewAddr(again), true
		}
	}
	return e, false
}

// Without returns the endpoint without the address families that the network no longer has. Their
// addresses become former ones.
func (e Endpoint) Without(n network.Network) Endpoint {
	if n.UsesDHCP() {
		return e
	}
	if e.IPv4.IsValid() && !n.HasIPv4() {
		e.Former, e.IPv4 = append(slices.Clip(e.Former), e.IPv4), netip.Prefix{}
	}
	if e.IPv6.IsValid() && !n.HasIPv6() {
		e.Former, e.IPv6 = append(slices.Clip(e.Former), e.IPv6), netip.Prefix{}
	}
	return e
}

// Difference returns the addresses that are not in others. Prefix lengths are ignored.
func Difference(some, others []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(some), func(p netip.Prefix) bool {
		return slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Addr() == p.Addr() })
	})
}

// WithPrefixLens returns the endpoint after a network update. Its addresses get the prefix length
// of their current subnet. Changed name servers, rules and limits start a renumbering, which updates the resolver and
// the policy.
func (e Endpoint) WithPrefixLens(n network.Network) Endpoint {
	if servers := e.NameServers(n); !slices.Equal(e.DNS, servers) {
		e.DNS, e.Renumbering = servers, true
	}
	if !slices.Equal(e.Egress, n.Spec.Egress) {
		e.Egress, e.Renumbering = n.Spec.Egress, true
	}
	e = e.WithLimits(n)

	for _, p := range n.Spec.Pools {
		if e.IPv4.IsValid() && p.Subnet.Contains(e.IPv4.Addr()) {
			e.IPv4 = netip.PrefixFrom(e.IPv4.Addr(), p.Subnet.Bits())
		}
		if e.IPv6.IsValid() && p.Subnet.Contains(e.IPv6.Addr()) {
			e.IPv6 = netip.PrefixFrom(e.IPv6.Addr(), p.Subnet.Bits())
		}
	}

	return e
}
