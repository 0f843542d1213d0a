package address

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// conflictTime is the time for which an address in use by another host is not allocated.
	conflictTime = 10 * time.Minute
	// maxConflicts bounds the conflicting addresses that one allocation skips.
	maxConflicts = 64
)

// conflicts holds addresses of pools that other hosts on the LAN use. They stay reserved in the
// allocator, so that no container gets them.
type conflicts struct {
	mu   sync.Mutex
	held map[held]time.Time // address to expiry
}

// held is an address with a conflict.
type held struct {
	networkID string
	addr      netip.Addr
}

// note records a conflict. The address must be allocated.
func (f *conflicts) note(networkID string, addr netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[held{networkID, addr}] = time.Now().Add(conflictTime)
}

// drop deletes a conflict and reports whether it existed. If so, the caller owns the address.
func (f *conflicts) drop(networkID string, addr netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.held[held{networkID, addr}]
	delete(f.held, held{networkID, addr})
	return ok
}

// over removes the expired conflicts and returns them.
func (f *conflicts) over() []held {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []held
	for h, until := range f.held {
		if time.Now().After(until) {
			out = append(out, h)
			delete(f.held, h)
		}
	}
	return out
}

// allocateProbed allocates a dynamic address and skips addresses that other hosts on the LAN use.
func (m *Addresses) allocateProbed(owner string, n network.Network, p network.Pool) (netip.Addr, error) {
	for _, h := range m.conflicts.over() {
		m.allocator.Release(h.networkID, h.addr)
	}

	for range maxConflicts {
		addr, ok := m.allocator.Allocate(n.ID, n.Addresses(p), owner)
		if !ok {
			return addr, exhausted(n, p)
		}
		host, err := m.claimed(n, addr)
		if err != nil {
			m.allocator.Release(n.ID, addr)
			return addr, err
		}
		if host == "" {
			return addr, nil
		}
		m.conflicts.note(n.ID, addr)
	}

	return netip.Addr{}, fault.New(fault.Exhausted, n.Subject(),
		fmt.Sprintf("next %d addresses of %s are in use on %s", maxConflicts, p.Subnet, n.Parent().Link),
		fault.WithHint("create the network with an --ip-range that is reserved for it on the LAN"))
}

// checkConflict returns an error if another host on the LAN uses a static address.
func (m *Addresses) checkConflict(n network.Network, addr netip.Addr) error {
	host, err := m.claimed(n, addr)
	if err != nil || host == "" {
		return err
	}
	return fault.New(fault.Exists, n.Subject(), fmt.Sprintf("%s: Address already in use: %s has it", addr, host),
		fault.WithField("ip"), fault.WithHint("choose another address, or leave it to the network"))
}

// claimed returns a description of the other host that uses an address. It is empty if there is
// none.
func (m *Addresses) claimed(n network.Network, addr netip.Addr) (host string, err error) {
	if m.prober == nil {
		return "", nil
	}
	return m.prober.AddressOwner(n, addr)
}
