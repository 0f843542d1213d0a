package ipam

import (
	"net/netip"
	"sync"
	"time"
)

// Allocator records the addresses in use on each network. It is safe for concurrent use. An address
// is in use from Allocate or Claim until Release.
type Allocator struct {
	now func() time.Time

	mu       sync.Mutex
	networks map[string]*addresses
}

// addresses holds the addresses of one network.
type addresses struct {
	taken    map[netip.Addr]string // addresses in use, with their owners
	released map[netip.Addr]released
	affinity affinity
}

// released is the last use of a free address.
type released struct {
	owner string
	at    time.Time
}

// NewAllocator creates an empty allocator. now returns the time, for the cooldown of pools.
func NewAllocator(now func() time.Time) *Allocator {
	return &Allocator{now: now, networks: map[string]*addresses{}}
}

// Allocate allocates an address of a pool to an owner; ok is false if the pool is exhausted. It
// prefers the owner's last address, then the lowest free address without affinity, then the lowest
// free address. It skips addresses that another owner released less than the pool's cooldown ago.
func (b *Allocator) Allocate(network string, pool Pool, owner string) (netip.Addr, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()

	n := b.on(network)
	n.expireReleased(pool, b.now())
	unavailable := func(a netip.Addr) bool { return n.isTaken(a) || n.cools(a, owner) }

	for _, a := range n.affinity.byOwner[owner] {
		if pool.Automatic(a) && !unavailable(a) {
			return n.take(a, owner), true
		}
	}

	addr, ok := pool.LowestFree(func(a netip.Addr) bool { return unavailable(a) || n.affinity.byAddr[a] != "" })
	if !ok { // all free addresses have an affinity to another owner
		addr, ok = pool.LowestFree(unavailable)
	}

	if ok {
		n.take(addr, owner)
	}

	return addr, ok
}

// Claim marks an address as in use by an owner. It reports whether the address was free. It ignores
// the cooldown, because the address was requested.
func (b *Allocator) Claim(network string, addr netip.Addr, owner string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.on(network)
	if n.isTaken(addr) {
		return false
	}
	n.take(addr, owner)
	return true
}

// Release frees an address. It does nothing if the address is free.
func (b *Allocator) Release(network string, addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.networks[network]
	if n == nil || !n.isTaken(addr) {
		return
	}
	if n.released != nil {
		n.released[addr] = released{n.taken[addr], b.now()}
	}
	delete(n.taken, addr)
}

// RemoveNetwork removes all addresses and affinities of a network.
func (b *Allocator) RemoveNetwork(network string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.networks, network)
}

// FreeRanges returns the ranges of a pool without an address in use or in its cooldown.
func (b *Allocator) FreeRanges(network string, pool Pool) []netip.Prefix {
	b.mu.Lock()
	defer b.mu.Unlock()

	n := b.on(network)
	n.expireReleased(pool, b.now())
	used := func(r netip.Prefix) bool {
		for a := range n.taken {
			if r.Contains(a) {
				return true
			}
		}
		for a := range n.released {
			if r.Contains(a) {
				return true
			}
		}
		return false
	}

	var free []netip.Prefix
	for _, r := range pool.Ranges {
		if !used(r) {
			free = append(free, r)
		}
	}

	return free
}

func (b *Allocator) on(network string) *addresses {
	n := b.networks[network]
	if n == nil {
		n = &addresses{taken: map[netip.Addr]string{}, affinity: newAffinity()}
		b.networks[network] = n
	}
	return n
}

func (n *addresses) isTaken(a netip.Addr) bool {
	_, ok := n.taken[a]
	return ok
}

func (n *addresses) take(a netip.Addr, owner string) netip.Addr {
	n.taken[a] = owner
	delete(n.released, a)
	return a
}

// expireReleased drops the released addresses of a pool whose cooldown is over. Releases are
// recorded only on networks that have a pool with a cooldown.
func (n *addresses) expireReleased(pool Pool, now time.Time) {
	if n.released == nil && pool.Cooldown > 0 {
		n.released = map[netip.Addr]released{}
	}
	for a, r := range n.released {
		if pool.Subnet.Contains(a) && now.Sub(r.at) >= pool.Cooldown {
			delete(n.released, a)
		}
	}
}

// cools reports whether another owner had the address until recently.
func (n *addresses) cools(a netip.Addr, owner string) bool {
	r, ok := n.released[a]
	return ok && r.owner != owner
}
