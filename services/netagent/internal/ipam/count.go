package ipam

import (
	"math"
	"net/netip"
	"slices"
)

// Usage is how full a pool is. Numbers that do not fit are the largest that do.
type Usage struct {
	Used uint64 // addresses of the subnet that are taken or that nobody can have
	Free uint64 // addresses that can still be given out by themselves
}

// Count counts a network's pool.
func (b *Allocator) Count(network string, pool Pool) Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := pool.from()
	var c Usage
	inRange := uint64(0)
	note := func(a netip.Addr) {
		if pool.Subnet.Contains(a) {
			c.Used++
		}
		if from.Contains(a) {
			inRange++
		}
	}
	for a := range b.taken[network] {
		note(a)
	}
	for _, a := range pool.unusable() {
		if !b.has(network, a) {
			note(a)
		}
	}
	c.Free = size(from) - inRange
	return c
}

// unusable are the addresses of the subnet that are not for containers, each once.
func (p Pool) unusable() []netip.Addr {
	all := append([]netip.Addr{p.Subnet.Masked().Addr(), last(p.Subnet)}, p.Reserved...)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.DeleteFunc(slices.Compact(all), func(a netip.Addr) bool { return !p.kept(a) || !p.Subnet.Contains(a) })
}

// Size is how many addresses there are to give out by themselves, free or not. Numbers that do not fit are the largest that does.
func (p Pool) Size() uint64 {
	kept := uint64(0)
	for _, a := range p.unusable() {
		if p.from().Contains(a) {
			kept++
		}
	}
	return size(p.from()) - kept
}

func size(p netip.Prefix) uint64 {
	host := p.Addr().BitLen() - p.Bits()
	if host >= 64 {
		return math.MaxUint64
	}
	return 1 << host
}
