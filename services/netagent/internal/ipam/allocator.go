package ipam

import (
	"net/netip"
	"slices"
	"sync"
)

// Allocator records the addresses in use on each network. It is safe for concurrent use. An address
// is in use from Allocate or Reserve until Release.
type Allocator struct {
	mu    sync.Mutex
	taken map[string]map[netip.Addr]struct{} // addresses in use, by network
	last  map[string]*affinity               // affinities, by network
}

// affinity holds the last dynamic addresses of the owners on one network.
type affinity struct {
	byAddr  map[netip.Addr]string
	byOwner map[string][]netip.Addr
}

// NewBook creates an empty allocator.
func NewBook() *Allocator {
	return &Allocator{taken: map[string]map[netip.Addr]struct{}{}, last: map[string]*affinity{}}
}

// Allocate allocates an address of a pool to an owner; ok is false if the pool is exhausted. It
// prefers the owner's last address, then the lowest free address without affinity, then the lowest
// free address.
func (b *Allocator) Allocate(network string, pool Pool, owner string) (netip.Addr, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()

	m := b.affinityOf(network)

	for _, a := range m.byOwner[owner] {
		if pool.Automatic(a) && !b.has(network, a) {
			b.put(network, a)
			return a, true
		}
	}

	addr, ok := pool.LowestFree(func(a netip.Addr) bool { return b.has(network, a) || m.byAddr[a] != "" })
	if !ok { // all free addresses have an affinity to another owner
		addr, ok = pool.LowestFree(func(a netip.Addr) bool { return b.has(network, a) })
	}

	if ok {
		b.put(network, addr)
	}

	return addr, ok
}

// Remember records an affinity of an owner to an address. The address stays free, but other owners
// get it only if no other address is free.
func (b *Allocator) Remember(network string, addr netip.Addr, owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.affinityOf(network)
	m.forget(addr)
	m.byAddr[addr] = owner
	m.byOwner[owner] = append(m.byOwner[owner], addr)
}

// ForgetOwner removes the affinities of an owner on a network.
func (b *Allocator) ForgetOwner(network, owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.affinityOf(network)
	for _, a := range m.byOwner[owner] {
		delete(m.byAddr, a)
	}
	delete(m.byOwner, owner)
}

func (b *Allocator) affinityOf(network string) *affinity {
	if b.last[network] == nil {
		b.last[network] = &affinity{map[netip.Addr]string{}, map[string][]netip.Addr{}}
	}
	return b.last[network]
}

// forget removes the affinity to an address.
func (m *affinity) forget(addr netip.Addr) {
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

// Reserve marks an address as in use. It reports whether the address was free.
func (b *Allocator) Reserve(network string, addr netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.has(network, addr) {
		return false
	}
	b.put(network, addr)
	return true
}

// Release frees an address. It does nothing if the address is free.
func (b *Allocator) Release(network string, addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.taken[network], addr)
}

// RemoveNetwork removes all addresses and affinities of a network.
func (b *Allocator) RemoveNetwork(network string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.taken, network)
	delete(b.last, network)
}

func (b *Allocator) has(network string, addr netip.Addr) bool {
	_, ok := b.taken[network][addr]
	return ok
}

func (b *Allocator) put(network string, addr netip.Addr) {
	if b.taken[network] == nil {
		b.taken[network] = map[netip.Addr]struct{}{}
	}
	b.taken[network][addr] = struct{}{}
}
