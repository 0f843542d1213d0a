package ipam

import (
	"math"
	"net/netip"
	"slices"
)

// Usage is the fill level of a pool. Counts above the range of uint64 are saturated.
type Usage struct {
	Used uint64 // addresses of the subnet that are in use or reserved
	Free uint64 // addresses of the range that can still be allocated
}

// Count returns the usage of a pool of a network.
func (b *Allocator) Count(network string, pool Pool) Usage {
	b.mu.Lock()
	defer b.mu.Unlock()

	var c Usage
	inRange := uint64(0)
	count := func(a netip.Addr) {
		if pool.Subnet.Contains(a) {
			c.Used++
		}
		if pool.inRanges(a) {
			inRange++
		}
	}

	n := b.on(network)
	for a := range n.taken {
		count(a)
	}

	for _, a := range pool.unusable() {
		if !n.isTaken(a) {
			count(a)
		}
	}

	c.Free = pool.rangeSize() - inRange
	return c
}

// unusable returns the addresses of the subnet that containers cannot have, without duplicates.
func (p Pool) unusable() []netip.Addr {
	all := append([]netip.Addr{p.Subnet.Masked().Addr(), last(p.Subnet)}, p.Reserved...)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.DeleteFunc(slices.Compact(all), func(a netip.Addr) bool {
		return !p.excluded(a) || !p.Subnet.Contains(a)
	})
}

// Size returns the number of addresses that can be allocated dynamically, free or in use. A count
// above the range of uint64 is saturated.
func (p Pool) Size() uint64 {
	excluded := uint64(0)
	for _, a := range p.unusable() {
		if p.inRanges(a) {
			excluded++
		}
	}
	return p.rangeSize() - excluded
}

// rangeSize returns the number of addresses in all ranges. It is saturated.
func (p Pool) rangeSize() uint64 {
	total := uint64(0)
	for _, r := range p.ranges() {
		if total += size(r); total < size(r) {
			return math.MaxUint64
		}
	}
	return total
}

func size(p netip.Prefix) uint64 {
	host := p.Addr().BitLen() - p.Bits()
	if host >= 64 {
		return math.MaxUint64
	}
	return 1 << host
}
