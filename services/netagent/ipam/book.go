package ipam

import (
	"net/netip"
	"slices"
	"sync"
)

// Book knows which addresses are taken on each network. It is safe for concurrent use. An address is taken from Take or Hold
// until Return.
type Book struct {
	mu    sync.Mutex
	taken map[string]map[netip.Addr]struct{} // network -> addresses
	last  map[string]*memory                 // network -> who had which
}

// memory is which addresses of a network somebody had last, and would like to have again.
type memory struct {
	byAddr  map[netip.Addr]string
	byOwner map[string][]netip.Addr
}

// NewBook makes an empty book.
func NewBook() *Book {
	return &Book{taken: map[string]map[netip.Addr]struct{}{}, last: map[string]*memory{}}
}

// Take takes an address of a network's pool for an owner: the one that it had last, or else the lowest free one that nobody else had
// last, or if there is no such, the lowest free one; false if there is none.
func (b *Book) Take(network string, pool Pool, owner string) (netip.Addr, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.memoryOf(network)
	for _, a := range m.byOwner[owner] {
		if pool.Automatic(a) && !b.has(network, a) {
			b.put(network, a)
			return a, true
		}
	}
	addr, ok := pool.Lowest(func(a netip.Addr) bool { return b.has(network, a) || m.byAddr[a] != "" })
	if !ok { // who had it last may have it again when it is free again
		addr, ok = pool.Lowest(func(a netip.Addr) bool { return b.has(network, a) })
	}
	if ok {
		b.put(network, addr)
	}
	return addr, ok
}

// Remember notes that an owner had an address last. It stays free, but is given to others only if there is no other left.
func (b *Book) Remember(network string, addr netip.Addr, owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.memoryOf(network)
	m.forget(addr)
	m.byAddr[addr] = owner
	m.byOwner[owner] = append(m.byOwner[owner], addr)
}

// ForgetOwner ends what is remembered for an owner on a network.
func (b *Book) ForgetOwner(network, owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.memoryOf(network)
	for _, a := range m.byOwner[owner] {
		delete(m.byAddr, a)
	}
	delete(m.byOwner, owner)
}

func (b *Book) memoryOf(network string) *memory {
	if b.last[network] == nil {
		b.last[network] = &memory{map[netip.Addr]string{}, map[string][]netip.Addr{}}
	}
	return b.last[network]
}

// forget ends what is remembered of an address.
func (m *memory) forget(addr netip.Addr) {
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

// Hold takes a certain address; false if it is taken already.
func (b *Book) Hold(network string, addr netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.has(network, addr) {
		return false
	}
	b.put(network, addr)
	return true
}

// Return gives an address back. Returning a free one does nothing.
func (b *Book) Return(network string, addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.taken[network], addr)
}

// Forget forgets a network with all that is taken on it.
func (b *Book) Forget(network string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.taken, network)
	delete(b.last, network)
}

func (b *Book) has(network string, addr netip.Addr) bool {
	_, ok := b.taken[network][addr]
	return ok
}

func (b *Book) put(network string, addr netip.Addr) {
	if b.taken[network] == nil {
		b.taken[network] = map[netip.Addr]struct{}{}
	}
	b.taken[network][addr] = struct{}{}
}
