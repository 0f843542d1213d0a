package sandbox

import (
	"slices"
	"sync"

	"github.com/fairlead/fairlead/services/netagent/network"
	"github.com/fairlead/fairlead/services/netagent/store"
)

// leavingAtOnce bounds how many leases are given back at the same time.
const leavingAtOnce = 16

// leave gives back to the LAN what it has granted a sandbox, or some endpoints of it.
func (m *Manager) leave(sb network.Sandbox, some ...network.Endpoint) {
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
			if err := m.LAN.Leave(n, sb, e); err != nil && m.Log != nil {
				m.Log.Warn("a lease may not have been given back, and ends by itself then", "network", n.Name, "container", sb.Called(), "error", err)
			}
		})
	}
}

// leaveHeld gives back what is held for an owner who will not come back, to one network or with an empty id to any.
func (m *Manager) leaveHeld(owner, networkID string) error {
	held := slices.DeleteFunc(m.store.Held(owner), func(h store.Held) bool { return networkID != "" && h.NetworkID != networkID })
	if len(held) == 0 {
		return nil
	}
	m.leaveAll(held)
	return m.store.Unhold(owner, networkID)
}

// LeaveNetwork gives back what the LAN of a network holds for owners who are not on it at the moment, as the network is about to go.
func (m *Manager) LeaveNetwork(networkID string) error {
	held := m.store.HeldOn(networkID)
	if len(held) == 0 {
		return nil
	}
	m.leaveAll(held)
	return m.store.UnholdOn(networkID)
}

func (m *Manager) leaveAll(held []store.Held) {
	for some := range slices.Chunk(held, leavingAtOnce) {
		var all sync.WaitGroup
		for _, h := range some {
			all.Go(func() { m.leave(network.Sandbox{Owner: h.Owner}, h.Endpoint()) })
		}
		all.Wait()
	}
}
