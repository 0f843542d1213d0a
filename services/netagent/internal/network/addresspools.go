package network

import (
	"crypto/sha256"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
)

// The lengths of subnets that nobody gave.
const (
	DefaultBits4 = 26
	DefaultBits6 = 64
)

// AddressPools is where subnets come from that nobody gave, in the order in which they are tried.
type AddressPools []ipam.Base

// DefaultSpace is Docker's IPv4 ranges, cut into smaller subnets so that there are thousands, each of which grows when its addresses run
// out, and unique local IPv6 addresses whose prefix follows a seed, so that it is the host's own and stays.
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

// WithIPv6 adds the IPv6 addresses of a space to one that has none.
func (s AddressPools) WithIPv6(of AddressPools) AddressPools {
	is6 := func(b ipam.Base) bool { return b.Prefix.Addr().Is6() }
	if slices.ContainsFunc(s, is6) {
		return s
	}
	return append(slices.Clone(s), of[slices.IndexFunc(of, is6):]...)
}

// Allocate finds a subnet of the wanted one's family and length that overlaps nothing that is taken. Of the length 0 it is as long as
// the space says, and if that lets it grow, room is where.
func (s AddressPools) Allocate(want netip.Prefix, taken []netip.Prefix) (subnet, room netip.Prefix, ok bool) {
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
	subnet, of, ok := ipam.GrowableSubnet(growing, taken) // others' room is left to them, even by one that does not grow
	switch {
	case !ok:
		subnet, ok = ipam.FreeSubnet(fixed, taken)
	case want.Bits() == 0:
		room = of.Prefix
	}
	return subnet, room, ok
}
