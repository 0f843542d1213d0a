package network

import "net/netip"

// PoolShortage is an address that a network could not give.
type PoolShortage struct {
	NetworkID string
	Subnet    netip.Prefix // which had none, as it was then
	Want      netip.Addr   // the one that was asked for; not valid: any
}

// Larger is the next larger subnet that the pool's can become, and that holds an address if one is given; false if there is none. It is
// as large as is needed and no larger.
func (p Pool) Larger(want netip.Addr) (netip.Prefix, bool) {
	for bits := p.Subnet.Bits() - 1; p.GrowLimit.IsValid() && bits >= p.GrowLimit.Bits(); bits-- {
		larger := netip.PrefixFrom(p.Subnet.Addr(), bits).Masked()
		if !want.IsValid() || larger.Contains(want) {
			return larger, true
		}
	}
	return netip.Prefix{}, false
}

// Short is what is missing of an address that was asked for and lies in none of the network's subnets; false if none of them has room
// for it.
func (n Network) Short(want netip.Addr) (PoolShortage, bool) {
	for _, p := range n.Pools {
		if _, ok := p.Larger(want); ok {
			return PoolShortage{n.ID, p.Subnet, want}, true
		}
	}
	return PoolShortage{}, false
}
