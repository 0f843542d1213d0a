package ipam

import (
	"net/netip"
	"slices"
	"sync"
)

// Allocator knows which addresses are taken on each network. It is safe for concurrent use. An address is taken from Take or Hold
// until Return.
type Allocator struct {
	mu    sync.Mutex
	taken map[string]map[netip.Addr]struct{} // network -> addresses
	last  map[string]*affinity               // network -> who had which
}

// affinity is which addresses of a network somebody had last, and would like to have again.
type affinity struct {
	byAddr  map[netip.Addr]string
	byOwner map[string][]netip.Addr
}

// NewBook makes an empty book.
func NewBook() *Allocator {
	return &Allocator{taken: map[string]map[netip.Addr]struct{}{}, last: map[string]*affinity{}}
}

// Allocate takes an address of a network's pool for an owner: the one that it had last, or else the lowest free one that nobody else had
// last, or if there is no such, the lowest free one; false if there is none.
func (b *Allocator) Allocate(network string, pool Pool, owner string) (netip.Addr, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.memoryOf(network)
	for _, a := range m.byOwner[owner] {
		if pool.Automatic(a) && !b.has(network, a) {
			b.put(network, a)
			return a, true
		}
	}
	addr, ok := pool.LowestFree(func(a netip.Addr) bool { return b.has(network, a) || m.byAddr[a] != "" })
	if !ok { // who had it last may have it again when it is free again
		addr, ok = pool.LowestFree(func(a netip.Addr) bool { return b.has(network, a) })
	}
	if ok {
		b.put(network, addr)
	}
	return addr, ok
}

// Remember notes that an owner had an address last. It stays free, but is given to others only if there is no other left.
func (b *Allocator) Remember(network string, addr netip.Addr, owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.memoryOf(network)
	m.forget(addr)
	m.byAddr[addr] = owner
	m.byOwner[owner] = append(m.byOwner[owner], addr)
}

// ForgetOwner ends what is remembered for an owner on a network.
func (b *Allocator) ForgetOwner(network, owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.memoryOf(network)
	for _, a := range m.byOwner[owner] {
		delete(m.byAddr, a)
	}
	delete(m.byOwner, owner)
}

func (b *Allocator) memoryOf(network string) *affinity {
	if b.last[network] == nil {
		b.last[network] = &affinity{map[netip.Addr]string{}, map[string][]netip.Addr{}}
	}
	return b.last[network]
}

// forget ends what is remembered of an address.
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

// Reserve takes a certain address; false if it is taken already.
func (b *Allocator) Reserve(network string, addr netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.has(network, addr) {
		return false
	}
	b.put(network, addr)
	return true
}

// Release gives an address back. Returning a free one does nothing.
func (b *Allocator) Release(network string, addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.taken[network], addr)
}

// RemoveNetwork forgets a network with all that is taken on it.
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
