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

// IsFormer reports whether an address is in a former pool.
func (n Network) IsFormer(a netip.Prefix) bool {
	return slices.ContainsFunc(n.Status.Former, func(p Pool) bool { return p.Subnet.Contains(a.Addr()) })
}
