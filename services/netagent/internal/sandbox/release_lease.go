package sandbox

import (
	"slices"
	"sync"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// leavingAtOnce bounds how many leases are given back at the same time.
const leavingAtOnce = 16

// releaseLeases gives back to the LANDriver what it has granted a sandbox, or some endpoints of it.
func (m *Manager) releaseLeases(sb network.Sandbox, some ...network.Endpoint) {
	if some == nil {
		some = sb.Endpoints
	}
	var all sync.WaitGroup
	defer all.Wait()
	for _, e := range some {
		n, _, ok := m.networkOf(e)
		if !ok || len(e.Leases()) == 0 {
			continue
		}
		all.Go(func() {
			if err := m.LAN.ReleaseLease(n, sb, e); err != nil && m.Log != nil {
				m.Log.Warn("a lease may not have been given back, and ends by itself then", "network", n.Name, "container", sb.DisplayName(), "error", err)
			}
		})
	}
}

// releaseHeldLeases gives back what is held for an owner who will not come back, to one network or with an empty id to any.
func (m *Manager) releaseHeldLeases(owner, networkID string) error {
	held := slices.DeleteFunc(m.store.Held(owner), func(h store.HeldLease) bool { return networkID != "" && h.NetworkID != networkID })
	if len(held) == 0 {
		return nil
	}
	m.leaveAll(held)
	return m.store.DropHeldLeases(owner, networkID)
}

// ReleaseNetworkLeases gives back what the LANDriver of a network holds for owners who are not on it at the moment, as the network is about to go.
func (m *Manager) ReleaseNetworkLeases(networkID string) error {
	held := m.store.HeldOn(networkID)
	if len(held) == 0 {
		return nil
	}
	m.leaveAll(held)
	return m.store.DropHeldLeasesOn(networkID)
}

func (m *Manager) leaveAll(held []store.HeldLease) {
	for some := range slices.Chunk(held, leavingAtOnce) {
		var all sync.WaitGroup
		for _, h := range some {
			all.Go(func() { m.releaseLeases(network.Sandbox{Owner: h.Owner}, h.Endpoint()) })
		}
		all.Wait()
	}
}
