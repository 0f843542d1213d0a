package ipam

import (
	"cmp"
	"net/netip"
	"slices"
)

// enoughRoom is the length of free space that is as good as any larger: a bridge has no more ports than such a subnet has addresses.
const enoughRoom = 21

// GrowableSubnet is a subnet of some bases that overlaps nothing that is taken and has room beside it to grow in: the first one at the start
// of enough free space, or else at the start of the largest that there is; false if there is none.
func GrowableSubnet(bases []Base, taken []netip.Prefix) (subnet netip.Prefix, of Base, ok bool) {
	taken = disjoint(taken)
	var s search
	for _, b := range bases {
		base, before := b.Prefix.Masked(), s.best
		if b.Bits < base.Bits() || b.Bits > base.Addr().BitLen() {
			continue
		}
		s.bits, s.enough = b.Bits, min(b.Bits, enoughRoom)
		if s.walk(base, overlapping(taken, base)); s.best != before {
			of = b
		}
	}
	if !s.best.IsValid() {
		return netip.Prefix{}, of, false
	}
	return netip.PrefixFrom(s.best.Addr(), of.Bits), of, true
}

// search is on its way for the first block of free space that has enough room, or the largest.
type search struct {
	bits, enough int
	best         netip.Prefix
}

// walk looks at a block and what of it is taken, halving it as long as it is neither free nor taken whole nor too small.
func (s *search) walk(block netip.Prefix, taken []netip.Prefix) {
	switch {
	case s.best.IsValid() && s.best.Bits() <= max(s.enough, block.Bits()), block.Bits() > s.bits:
		return // nothing better is here
	case len(taken) == 0:
		s.best = block
		return
	case taken[0].Bits() <= block.Bits():
		return
	}
	low, high := halves(block)
	i, _ := slices.BinarySearchFunc(taken, high.Addr(), func(t netip.Prefix, a netip.Addr) int { return t.Addr().Compare(a) })
	s.walk(low, taken[:i])
	s.walk(high, taken[i:])
}

// halves are the two halves of a block.
func halves(block netip.Prefix) (low, high netip.Prefix) {
	b := block.Addr().AsSlice()
	b[block.Bits()/8] |= 1 << (7 - block.Bits()%8)
	middle, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(block.Addr(), block.Bits()+1), netip.PrefixFrom(middle, block.Bits()+1)
}

// disjoint are some prefixes by address, without those that lie in another.
func disjoint(all []netip.Prefix) []netip.Prefix {
	sorted := make([]netip.Prefix, len(all))
	for i, p := range all {
		sorted[i] = p.Masked()
	}
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	out := sorted[:0]
	for _, p := range sorted {
		if len(out) == 0 || !out[len(out)-1].Overlaps(p) {
			out = append(out, p)
		}
	}
	return out
}

// overlapping are those of some disjoint prefixes that overlap a block.
func overlapping(sorted []netip.Prefix, block netip.Prefix) []netip.Prefix {
	first := slices.IndexFunc(sorted, block.Overlaps)
	if first < 0 {
		return nil
	}
	end := first
	for end < len(sorted) && block.Overlaps(sorted[end]) {
		end++
	}
	return sorted[first:end]
}
