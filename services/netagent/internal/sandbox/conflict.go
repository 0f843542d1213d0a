package sandbox

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// foreignFor is how long an address is left alone that somebody else on the LANDriver has. Then it is asked for again.
	foreignFor = 10 * time.Minute
	// maxForeign bounds how many such addresses are passed by for one container.
	maxForeign = 64
)

// conflicts are addresses of pools that others on the LANDriver have. They are held in the book, so that nobody is given them.
type conflicts struct {
	mu   sync.Mutex
	held map[held]time.Time // until when
}

type held struct {
	networkID string
	addr      netip.Addr
}

func (f *conflicts) note(networkID string, addr netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[held{networkID, addr}] = time.Now().Add(foreignFor)
}

// drop forgets that others have an address, and tells whether it was so: then the caller holds it.
func (f *conflicts) drop(networkID string, addr netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.held[held{networkID, addr}]
	delete(f.held, held{networkID, addr})
	return ok
}

// over takes out what was noted long enough ago.
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

// allocateProbed leases an address that nobody asked for by number, and passes those by that others on the LANDriver have.
func (m *Manager) allocateProbed(owner string, n network.Network, p network.Pool) (netip.Addr, error) {
	for _, h := range m.foreign.over() {
		m.book.Release(h.networkID, h.addr)
	}
	for range maxForeign {
		addr, ok := m.book.Allocate(n.ID, n.Addresses(p), owner)
		if !ok {
			return addr, exhausted(n, p)
		}
		who, err := m.claimed(n, addr)
		if err != nil {
			m.book.Release(n.ID, addr)
			return addr, err
		}
		if who == "" {
			return addr, nil
		}
		m.foreign.note(n.ID, addr)
	}
	return netip.Addr{}, fault.New(fault.Exhausted, n.Subject(),
		fmt.Sprintf("others on the LAN of %s have the next %d addresses of %s", n.Parent, maxForeign, p.Subnet),
		fault.WithHint("make the network with an --ip-range that the LAN leaves to it"))
}

// checkConflict refuses an address that was asked for by number and that somebody else on the LANDriver has.
func (m *Manager) checkConflict(n network.Network, addr netip.Addr) error {
	who, err := m.claimed(n, addr)
	if err != nil || who == "" {
		return err
	}
	return fault.New(fault.Exists, n.Subject(), fmt.Sprintf("%s: Address already in use: %s has it", addr, who),
		fault.WithField("ip"), fault.WithHint("choose another address, or leave it to the network"))
}

func (m *Manager) claimed(n network.Network, addr netip.Addr) (who string, err error) {
	if m.LAN == nil {
		return "", nil
	}
	return m.LAN.AddressOwner(n, addr)
}
