package ipam

import (
	"net/netip"
	"sync"
)

// Book knows which addresses are taken on each network. It is safe for concurrent use. An address is taken from Take or Hold
// until Return.
type Book struct {
	mu    sync.Mutex
	taken map[string]map[netip.Addr]struct{} // network -> addresses
}

// NewBook makes an empty book.
func NewBook() *Book { return &Book{taken: map[string]map[netip.Addr]struct{}{}} }

// Take takes the lowest free address of a network's pool; false if there is none.
func (b *Book) Take(network string, pool Pool) (netip.Addr, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	addr, ok := pool.Lowest(func(a netip.Addr) bool { return b.has(network, a) })
	if ok {
		b.put(network, addr)
	}
	return addr, ok
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
