package api

import (
	"net"
	"net/netip"
	"sync"
)

// limiter limits connections: in all, of each IPv6 network, and of each address.
type limiter struct {
	all, network, each int

	mu      *sync.Mutex
	sources map[netip.Prefix]int // by address and network
	total   *int
}

func newLimiter(all, network, each int) limiter {
	return limiter{all: all, network: network, each: each, mu: &sync.Mutex{}, sources: map[netip.Prefix]int{},
		total: new(int)}
}

// take counts a connection until release is called. It reports false if there are too many.
func (l limiter) take(conn interface{ RemoteAddr() net.Addr }) (release func(), ok bool) {
	address, network := sourceOf(conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	if *l.total >= l.all || l.sources[address] >= l.each || network.IsValid() && l.sources[network] >= l.network {
		return nil, false
	}
	l.add(1, address, network)
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.add(-1, address, network)
	}), true
}

// add changes the counts of sources. mu must be held.
func (l limiter) add(n int, sources ...netip.Prefix) {
	*l.total += n
	for _, s := range sources {
		if l.sources[s] += n; l.sources[s] == 0 {
			delete(l.sources, s)
		}
	}
}

// sourceOf returns the address of a connection's client, and its network if it is one of IPv6.
func sourceOf(conn interface{ RemoteAddr() net.Addr }) (address, network netip.Prefix) {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return address, network
	}
	one := a.Addr().Unmap().WithZone("")
	address = netip.PrefixFrom(one, one.BitLen())
	if one.Is6() {
		network = netip.PrefixFrom(one, networkBits).Masked()
	}
	return address, network
}
