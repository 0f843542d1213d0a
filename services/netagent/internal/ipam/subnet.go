package ipam

import (
	"net/netip"
	"slices"
)

// Base is a range of addresses that subnets are taken from.
type Base struct {
	Prefix   netip.Prefix
	Bits     int  // prefix length of the subnets
	Growable bool // a subnet can grow into free space next to it
}

// FreeSubnet returns the first subnet of the bases that overlaps no prefix in taken. ok is false if
// none is left.
func FreeSubnet(bases []Base, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, b := range bases {
		if p, ok := b.free(taken); ok {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// free walks over the prefixes in taken, lowest first, and stops at the first sufficient gap.
func (b Base) free(taken []netip.Prefix) (netip.Prefix, bool) {
	base := b.Prefix.Masked()
	if b.Bits < base.Bits() || b.Bits > base.Addr().BitLen() {
		return netip.Prefix{}, false
	}

	var here []netip.Prefix
	for _, t := range taken {
		if t.Overlaps(base) {
			here = append(here, t.Masked())
		}
	}

	slices.SortFunc(here, netip.Prefix.Compare)
	try := netip.PrefixFrom(base.Addr(), b.Bits)
	for _, t := range here {
		if !t.Overlaps(try) {
			if last(t).Less(try.Addr()) {
				continue // inside a larger prefix that was skipped
			}
			return try, true
		}
		next := last(t)
		if t.Bits() > b.Bits {
			next = last(try)
		}
		if next = next.Next(); !next.IsValid() || !base.Contains(next) {
			return netip.Prefix{}, false
		}
		try = netip.PrefixFrom(next, b.Bits)
	}

	return try, true
}

// last returns the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
