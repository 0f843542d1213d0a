package network

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
)

// WithPools is the network with other pools, while containers are on it that have addresses of those that it has. They keep them until they
// are renewed or end, and until then the host is reached at the old gateways as well.
func (n Network) WithPools(pools []Pool) (Network, error) {
	next := n
	next.Pools, next.Former, next.FormerSubnets = pools, nil, nil
	for _, old := range n.AllPools() {
		if slices.ContainsFunc(pools, old.growsTo) {
			continue
		}
		for _, p := range pools {
			if p.Subnet.Overlaps(old.Subnet) {
				return n, fault.New(fault.Conflict, n.Subject(), "cannot be moved from "+old.HostPrefix().String()+" to "+p.HostPrefix().String()+
					" while containers are on it, as they overlap", fault.WithField("subnet"),
					fault.WithHint("choose a subnet that lies elsewhere, or stop its containers first"))
			}
		}
		next.Former = append(next.Former, old)
	}
	if len(next.Former) > 0 && n.Bridge != "" {
		next.MAC = n.BridgeMAC()
	}
	for _, s := range slices.Concat(n.FormerSubnets, subnets(n.Pools)) {
		if !slices.ContainsFunc(pools, func(p Pool) bool { return p.Subnet.Overlaps(s) }) && !slices.Contains(next.FormerSubnets, s) {
			next.FormerSubnets = append(next.FormerSubnets, s)
		}
	}
	return next, nil
}

// growsTo tells whether everything that is right in a pool is right in another one too.
func (p Pool) growsTo(larger Pool) bool {
	return larger.Gateway == p.Gateway && larger.Subnet.Bits() <= p.Subnet.Bits() && larger.Subnet.Contains(p.Subnet.Addr())
}

func subnets(pools []Pool) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range pools {
		out = append(out, p.Subnet)
	}
	return out
}

// WithoutUnusedFormer is the network without the former pools that no endpoint has an address of.
func (n Network) WithoutUnusedFormer(sandboxes []Sandbox) Network {
	used := func(p Pool) bool {
		return slices.ContainsFunc(sandboxes, func(sb Sandbox) bool {
			return slices.ContainsFunc(sb.Endpoints, func(e Endpoint) bool {
				return e.NetworkID == n.ID && slices.ContainsFunc(e.AllAddresses(), func(a netip.Prefix) bool { return p.Subnet.Contains(a.Addr()) })
			})
		})
	}
	n.Former = slices.DeleteFunc(slices.Clone(n.Former), func(p Pool) bool { return !used(p) })
	if len(n.Former) == 0 {
		n.Former, n.Renumbering = nil, false
	}
	return n
}

// CurrentAddr is the address that somebody means who asks for one by number: in a subnet that the network once had, the one at the same place
// in the pool of today. Others mean what they say.
func (n Network) CurrentAddr(addr netip.Addr) netip.Addr {
	inside := func(s netip.Prefix) bool { return s.Contains(addr) }
	if !addr.IsValid() || slices.ContainsFunc(subnets(n.Pools), inside) {
		return addr
	}
	i := slices.IndexFunc(n.FormerSubnets, inside)
	if i < 0 {
		return addr
	}
	for _, p := range n.Pools {
		if there, ok := translateAddr(addr, n.FormerSubnets[i], p.Subnet); ok {
			return there
		}
	}
	return addr
}

// WithCurrentAddrs is the spec with the addresses that it means.
func (s EndpointSpec) WithCurrentAddrs(n Network) EndpointSpec {
	s.IPv4, s.IPv6 = n.CurrentAddr(s.IPv4), n.CurrentAddr(s.IPv6)
	return s
}

// translateAddr is the address at the same place in another subnet; false if that has no such place.
func translateAddr(addr netip.Addr, from, to netip.Prefix) (netip.Addr, bool) {
	if !addr.IsValid() || addr.Is4() != to.Addr().Is4() || from.Addr().Is4() != to.Addr().Is4() || !from.Contains(addr) {
		return netip.Addr{}, false
	}
	a, f, t := addr.As16(), from.Masked().Addr().As16(), to.Masked().Addr().As16()
	low, borrow := bits.Sub64(binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(f[8:]), 0)
	high, _ := bits.Sub64(binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(f[:8]), borrow)
	low, carry := bits.Add64(low, binary.BigEndian.Uint64(t[8:]), 0)
	high, over := bits.Add64(high, binary.BigEndian.Uint64(t[:8]), carry)
	var sum [16]byte
	binary.BigEndian.PutUint64(sum[:8], high)
	binary.BigEndian.PutUint64(sum[8:], low)
	out := netip.AddrFrom16(sum)
	if addr.Is4() {
		out = out.Unmap()
	}
	return out, over == 0 && to.Contains(out)
}

// moveTo is a pool in another subnet: its gateway, its range and its other addresses are at the same places, as far as there are such
// places. A gateway or an address without one is refused.
func (p Pool) moveTo(n Network, to netip.Prefix) (Pool, error) {
	want := PoolSpec{Subnet: to}
	place := func(field string, a netip.Addr) (netip.Addr, error) {
		there, ok := translateAddr(a, p.Subnet, to)
		if !ok && a.IsValid() {
			return there, fault.New(fault.Invalid, n.Subject(), "subnet "+to.String()+" is too small: it has no place for "+a.String()+" of "+p.Subnet.String(),
				fault.WithField(field), fault.WithHint("choose a larger subnet"))
		}
		return there, nil
	}
	var err error
	if want.Gateway, err = place("gateway", p.Gateway); err != nil {
		return p, err
	}
	for name, a := range p.Aux {
		if want.Aux == nil {
			want.Aux = map[string]netip.Addr{}
		}
		if want.Aux[name], err = place("aux-address", a); err != nil {
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

// NeedsRenumbering tells whether an endpoint on the network is to have other addresses: it lacks those of a family that the network has got, or
// it has one of a former pool and is to have a new one, or it is on its way there.
func (e Endpoint) NeedsRenumbering(n Network) bool {
	if e.Renumbering {
		return true
	}
	for _, is6 := range []bool{false, true} {
		has, pooled, inPool := e.addressOf(is6), false, false
		for _, p := range n.Pools {
			if p.Subnet.Addr().Is6() == is6 {
				pooled, inPool = true, inPool || has.IsValid() && p.Subnet.Contains(has.Addr())
			}
		}
		if pooled && !has.IsValid() && len(e.Addresses()) > 0 || has.IsValid() && !inPool && n.Renumbering {
			return true
		}
	}
	return false
}

// WithNewAddr is the endpoint with a new address, in the place of the one of that family, which becomes a former one. Its hardware address
// follows the first address, unless one was asked for.
func (e Endpoint) WithNewAddr(p netip.Prefix) Endpoint {
	had := &e.IPv4
	if p.Addr().Is6() {
		had = &e.IPv6
	}
	if had.IsValid() {
		e.Former = append(e.Former, *had)
	}
	*had = p
	if e.Spec.MAC == "" {
		e.MAC = MACOf(e.Addresses()[0].Addr())
	}
	return e
}

// RestoreAddr is the endpoint with an address again that it had before, in one of these pools; false if there is none.
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

// Without is the endpoint without the addresses of a family that its network has no more. They are former ones.
func (e Endpoint) Without(n Network) Endpoint {
	if n.UsesDHCP() {
		return e
	}
	for has, there := range map[*netip.Prefix]bool{&e.IPv4: n.HasIPv4(), &e.IPv6: n.HasIPv6()} {
		if has.IsValid() && !there {
			e.Former, *has = append(e.Former, *has), netip.Prefix{}
		}
	}
	return e
}

// IsFormer tells whether an address is one of a former pool.
func (n Network) IsFormer(a netip.Prefix) bool {
	return slices.ContainsFunc(n.Former, func(p Pool) bool { return p.Subnet.Contains(a.Addr()) })
}
