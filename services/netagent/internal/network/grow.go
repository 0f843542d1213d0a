package network

import "net/netip"

// PoolShortage describes an address that could not be allocated.
type PoolShortage struct {
	NetworkID string
	Subnet    netip.Prefix // the exhausted subnet
	Want      netip.Addr   // the static address; zero: any address
}

// Larger returns the next larger subnet within the grow limit; ok is false if there is none. If
// want is valid, the subnet must contain it.
func (p Pool) Larger(want netip.Addr) (netip.Prefix, bool) {
	for bits := p.Subnet.Bits() - 1; p.GrowLimit.IsValid() && bits >= p.GrowLimit.Bits(); bits-- {
		larger := netip.PrefixFrom(p.Subnet.Addr(), bits).Masked()
		if !want.IsValid() || larger.Contains(want) {
			return larger, true
		}
	}
	return netip.Prefix{}, false
}

// Short returns the shortage for a static address outside all subnets. ok is false if no pool can
// grow to contain it.
func (n Network) Short(want netip.Addr) (PoolShortage, bool) {
	for _, p := range n.Spec.Pools {
		if _, ok := p.Larger(want); ok {
			return PoolShortage{n.ID, p.Subnet, want}, true
		}
	}
	return PoolShortage{}, false
}
