package ipam

import (
	"cmp"
	"net/netip"
	"slices"
)

// enoughSpace is the prefix length above which more free space has no benefit. A bridge has at most
// 1024 ports.
const enoughSpace = 21

// GrowableSubnet returns a subnet of the bases with free space for growth; ok is false if none is
// left. It returns the start of the first block that is large enough, or else of the largest free
// block. The block overlaps no prefix in taken.
func GrowableSubnet(bases []Base, taken []netip.Prefix) (subnet netip.Prefix, of Base, ok bool) {
	taken = disjoint(taken)
	var s search
	for _, b := range bases {
		base, before := b.Prefix.Masked(), s.best
		if b.Bits < base.Bits() || b.Bits > base.Addr().BitLen() {
			continue
		}
		s.bits, s.enough = b.Bits, min(b.Bits, enoughSpace)
		if s.walk(base, overlapping(taken, base)); s.best != before {
			of = b
		}
	}

	if !s.best.IsValid() {
		return netip.Prefix{}, of, false
	}

	return netip.PrefixFrom(s.best.Addr(), of.Bits), of, true
}

// search finds the first free block that is large enough, or else the largest free block.
type search struct {
	bits, enough int
	best         netip.Prefix
}

// walk searches a block, halving it until a part is free, fully taken or too small. taken holds the
// disjoint prefixes inside the block, in order.
func (s *search) walk(block netip.Prefix, taken []netip.Prefix) {
	switch {
	case s.best.IsValid() && s.best.Bits() <= max(s.enough, block.Bits()), block.Bits() > s.bits:
		return // no better block is possible here
	case len(taken) == 0:
		s.best = block
		return
	case taken[0].Bits() <= block.Bits():
		return
	}

	low, high := halves(block)
	i, _ := slices.BinarySearchFunc(taken, high.Addr(),
		func(t netip.Prefix, a netip.Addr) int { return t.Addr().Compare(a) })
	s.walk(low, taken[:i])
	s.walk(high, taken[i:])
}

// halves returns the two halves of a block.
func halves(block netip.Prefix) (low, high netip.Prefix) {
	b := block.Addr().AsSlice()
	b[block.Bits()/8] |= 1 << (7 - block.Bits()%8)
	middle, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(block.Addr(), block.Bits()+1), netip.PrefixFrom(middle, block.Bits()+1)
}

// disjoint returns the prefixes sorted by address, without those contained in another.
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

// overlapping returns the part of sorted disjoint prefixes that overlaps a block.
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
