package network

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
)

// WithPools returns the network with new pools. Replaced pools become former pools, and the host
// keeps their gateway addresses until renumbering completes.
func (n Network) WithPools(pools []Pool) (Network, error) {
	next := n
	next.Spec.Pools, next.Status.Former, next.Status.FormerSubnets = pools, nil, nil
	for _, old := range n.AllPools() {
		if slices.ContainsFunc(pools, old.growsTo) {
			continue
		}
		for _, p := range pools {
			if p.Subnet.Overlaps(old.Subnet) {
				return n, fault.New(fault.Conflict, n.Subject(), "cannot be renumbered from "+old.HostPrefix().String()+
					" to "+p.HostPrefix().String()+": the subnets overlap",
					fault.WithField("subnet"),
					fault.WithHint("choose another subnet, or stop the containers first"))
			}
		}
		next.Status.Former = append(next.Status.Former, old)
	}

	if len(next.Status.Former) > 0 && n.Bridge().Device != "" {
		next.Status.MAC = n.BridgeMAC()
	}

	for _, s := range slices.Concat(n.Status.FormerSubnets, subnets(n.Spec.Pools)) {
		overlaps := func(p Pool) bool { return p.Subnet.Overlaps(s) }
		if !slices.ContainsFunc(pools, overlaps) && !slices.Contains(next.Status.FormerSubnets, s) {
			next.Status.FormerSubnets = append(next.Status.FormerSubnets, s)
		}
	}

	return next, nil
}

// growsTo reports whether the larger pool keeps the gateway and all addresses of p.
func (p Pool) growsTo(larger Pool) bool {
	return larger.Gateway == p.Gateway && larger.Subnet.Bits() <= p.Subnet.Bits() &&
		larger.Subnet.Contains(p.Subnet.Addr())
}

func subnets(pools []Pool) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range pools {
		out = append(out, p.Subnet)
	}
	return out
}

// WithoutUnusedFormer returns the network without the former pools in which no endpoint has an
// address.
func (n Network) WithoutUnusedFormer(sandboxes []Sandbox) Network {
	used := func(p Pool) bool {
		return slices.ContainsFunc(sandboxes, func(sb Sandbox) bool {
			return slices.ContainsFunc(sb.Endpoints, func(e Endpoint) bool {
				return e.NetworkID == n.ID && slices.ContainsFunc(e.AllAddresses(), func(a netip.Prefix) bool {
					return p.Subnet.Contains(a.Addr())
				})
			})
		})
	}

	n.Status.Former = slices.DeleteFunc(slices.Clone(n.Status.Former), func(p Pool) bool { return !used(p) })
	if len(n.Status.Former) == 0 {
		n.Status.Former, n.Status.Renumbering = nil, false
	}

	return n
}

// CurrentAddr translates a static address in a former subnet to the same position in the current
// pool. It returns other addresses unchanged.
func (n Network) CurrentAddr(addr netip.Addr) netip.Addr {
	inside := func(s netip.Prefix) bool { return s.Contains(addr) }
	if !addr.IsValid() || slices.ContainsFunc(subnets(n.Spec.Pools), inside) {
		return addr
	}

	i := slices.IndexFunc(n.Status.FormerSubnets, inside)
	if i < 0 {
		return addr
	}

	for _, p := range n.Spec.Pools {
		if there, ok := translateAddr(addr, n.Status.FormerSubnets[i], p.Subnet); ok {
			return there
		}
	}

	return addr
}

// WithCurrentAddrs returns the request with its static addresses translated by CurrentAddr.
func (s EndpointSpec) WithCurrentAddrs(n Network) EndpointSpec {
	s.IPv4, s.IPv6 = n.CurrentAddr(s.IPv4), n.CurrentAddr(s.IPv6)
	return s
}

// translateAddr returns the address at the same position in another subnet. ok is false if that
// subnet is too small.
func translateAddr(addr netip.Addr, from, to netip.Prefix) (netip.Addr, bool) {
	if !addr.IsValid() || addr.Is4() != to.Addr().Is4() || from.Addr().Is4() != to.Addr().Is4() ||
		!from.Contains(addr) {
		return netip.Addr{}, false
	}

	a, f, t := addr.As16(), from.Masked().Addr().As16(), to.Masked().Addr().As16()
	low, borrow := bits.Sub64(binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(f[8:]), 0)
	high, _ := bits.Sub64(binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(f[:8]), borrow)
	low, extra := bits.Add64(low, binary.BigEndian.Uint64(t[8:]), 0)
	high, over := bits.Add64(high, binary.BigEndian.Uint64(t[:8]), extra)
	var sum [16]byte
	binary.BigEndian.PutUint64(sum[:8], high)
	binary.BigEndian.PutUint64(sum[8:], low)
	out := netip.AddrFrom16(sum)
	if addr.Is4() {
		out = out.Unmap()
	}

	return out, over == 0 && to.Contains(out)
}

// moveTo returns the pool in another subnet. Gateway, range and auxiliary addresses keep their
// positions. It fails if the subnet is too small for the gateway or an auxiliary address.
func (p Pool) moveTo(n Network, to netip.Prefix) (Pool, error) {
	want := PoolSpec{Subnet: to}
	translate := func(field string, a netip.Addr) (netip.Addr, error) {
		there, ok := translateAddr(a, p.Subnet, to)
		if !ok && a.IsValid() {
			return there, fault.New(fault.Invalid, n.Subject(), "subnet "+to.String()+" is too small for "+a.String()+
				" of "+p.Subnet.String(),
				fault.WithField(field), fault.WithHint("choose a larger subnet"))
		}
		return there, nil
	}

	var err error
	if want.Gateway, err = translate("gateway", p.Gateway); err != nil {
		return p, err
	}

	for name, a := range p.Aux {
		if want.Aux == nil {
			want.Aux = map[string]netip.Addr{}
		}
		if want.Aux[name], err = translate("aux-address", a); err != nil {
			return p, err
		}
	}

	if first, ok := translateAddr(p.Range.Addr(), p.Subnet, to); ok && p.Range.Bits() >= to.Bits() {
		want.Range = netip.PrefixFrom(first, p.Range.Bits()).Masked()
	}

	if err := want.check(n); err != nil {
		return p, err
	}

	return want.Assign(to, want.Gateway.IsValid()), nil
}

// NeedsRenumbering reports whether the endpoint needs other addresses on the network. It does if it
// lacks an address family, has an address of a former pool, or its renumbering is incomplete.
func (e Endpoint) NeedsRenumbering(n Network) bool {
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
// former one. The MAC address follows the first address negated the user chose one.
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
		e.MAC = MACOf(e.Addresses()[0].Addr())
	}

	return e
}

// RestoreAddr returns the endpoint with a former address in one of the pools as its current
// address. ok is false if it has none.
func (e Endpoint) RestoreAddr(pools []Pool) (Endpoint, bool) {
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
func (e Endpoint) Without(n Network) Endpoint {
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

// IsFormer reports whether an address is in a former pool.
func (n Network) IsFormer(a netip.Prefix) bool {
	return slices.ContainsFunc(n.Status.Former, func(p Pool) bool { return p.Subnet.Contains(a.Addr()) })
}

// Difference returns the addresses that are not in others. Prefix lengths are ignored.
func Difference(some, others []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(some), func(p netip.Prefix) bool {
		return slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Addr() == p.Addr() })
	})
}
