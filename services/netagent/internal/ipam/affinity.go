package ipam

import (
	"net/netip"
	"slices"
)

// affinity holds the last dynamic addresses of the owners on one network.
type affinity struct {
	byAddr  map[netip.Addr]string
	byOwner map[string][]netip.Addr
}

func newAffinity() affinity {
	return affinity{map[netip.Addr]string{}, map[string][]netip.Addr{}}
}

// Prefer records an affinity of an owner to an address. The address stays free, but other owners
// get it only if no other address is free.
func (b *Allocator) Prefer(network string, addr netip.Addr, owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.on(network).affinity
	m.forget(addr)
	m.byAddr[addr] = owner
	m.byOwner[owner] = append(m.byOwner[owner], addr)
}

// DropAffinity removes the affinities of an owner on a network.
func (b *Allocator) DropAffinity(network, owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.on(network).affinity
	for _, a := range m.byOwner[owner] {
		delete(m.byAddr, a)
	}
	delete(m.byOwner, owner)
}

// forget removes the affinity to an address.
func (m affinity) forget(addr netip.Addr) {
	owner, ok := m.byAddr[addr]
	if !ok {
		return
	}
	delete(m.byAddr, addr)
	left := slices.DeleteFunc(m.byOwner[owner], func(a netip.Addr) bool { return a == addr })
	if m.byOwner[owner] = left; len(left) == 0 {
		delete(m.byOwner, owner)
	}
}
