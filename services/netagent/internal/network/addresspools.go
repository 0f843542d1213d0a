package network

import (
	"crypto/sha256"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
)

// The default prefix lengths of allocated subnets.
const (
	DefaultBits4 = 26
	DefaultBits6 = 64
)

// AddressPools are the address ranges that subnets are allocated from, in order of preference.
type AddressPools []ipam.Base

// DefaultSpace returns the default address pools.
// IPv4 uses Docker's ranges with small growable subnets. IPv6 uses a unique local /48 derived from
// seed, which is stable for the host.
func DefaultSpace(seed string) AddressPools {
	ranges := []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 0, 0}), 16)}
	for i := byte(31); i >= 17; i-- {
		ranges = append([]netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, i, 0, 0}), 16)}, ranges...)
	}

	var out AddressPools
	for _, r := range ranges {
		out = append(out, ipam.Base{Prefix: r, Bits: DefaultBits4, Growable: true})
	}

	sum := sha256.Sum256([]byte(seed))
	ula := [16]byte{0: 0xfd}
	copy(ula[1:6], sum[:])
	return append(out, ipam.Base{Prefix: netip.PrefixFrom(netip.AddrFrom16(ula), 48), Bits: DefaultBits6})
}

// WithIPv6 returns s with the IPv6 pools of another value if s has none.
func (s AddressPools) WithIPv6(of AddressPools) AddressPools {
	is6 := func(b ipam.Base) bool { return b.Prefix.Addr().Is6() }
	if slices.ContainsFunc(s, is6) {
		return s
	}
	return append(slices.Clone(s), of[slices.IndexFunc(of, is6):]...)
}

// Allocate returns a free subnet with the family and length of want; ok is false if none is left.
// With length 0 the subnet has the pool's length, and limit is the grow limit if the pool is
// growable. The subnet overlaps no prefix in taken.
func (s AddressPools) Allocate(want netip.Prefix, taken []netip.Prefix) (subnet, limit netip.Prefix, ok bool) {
	var fixed, growing []ipam.Base
	for _, b := range s {
		if want.Bits() != 0 {
			b.Bits = want.Bits()
		}
		switch {
		case b.Prefix.Addr().Is4() != want.Addr().Is4() || b.Prefix.Bits() > b.Bits:
		case b.Growable:
			growing = append(growing, b)
		default:
			fixed = append(fixed, b)
		}
	}

	// A subnet of fixed size also keeps space free for the growth of its adjacent subnets.
	subnet, of, ok := ipam.GrowableSubnet(growing, taken)
	switch {
	case !ok:
		subnet, ok = ipam.FreeSubnet(fixed, taken)
	case want.Bits() == 0:
		limit = of.Prefix
	}

	return subnet, limit, ok
}
