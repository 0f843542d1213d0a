// Package prefixes computes with lists of IP prefixes, for package egress.
package prefixes

import (
	"net/netip"
	"slices"
)

// Merge returns sorted prefixes without those within another.
func Merge(all []netip.Prefix) (out []netip.Prefix) {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	for _, p := range sorted {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// Subtract returns the prefixes of all that are not in some. Both are sorted.
func Subtract(all, some []netip.Prefix) (out []netip.Prefix) {
	for _, p := range all {
		for len(some) > 0 && some[0].Addr().Less(p.Addr()) {
			some = some[1:]
		}
		if len(some) == 0 || some[0] != p {
			out = append(out, p)
		}
	}
	return out
}

// Last returns the highest address of a masked prefix.
func Last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}
