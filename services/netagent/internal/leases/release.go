package leases

import (
	"slices"
	"sync"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// maxReleases bounds the leases that are released concurrently.
const maxReleases = 16

// Release releases the DHCP leases of the given endpoints, or of all endpoints of a sandbox.
func (m *Leases) Release(sb endpoint.Sandbox, some ...endpoint.Endpoint) {
	if some == nil {
		some = sb.Endpoints
	}

	var all sync.WaitGroup
	defer all.Wait()

	for _, e := range some {
		n, _, ok := m.attach.NetworkOf(e)
		if !ok || len(e.Leases()) == 0 {
			continue
		}
		all.Go(func() {
			if err := m.lan.ReleaseLease(n, sb, e); err != nil {
				m.log.Warn("lease release failed, it will expire", "network", n.Name, "container",
					sb.DisplayName(), "error", err)
			}
		})
	}
}

// ReleaseHeld releases the held leases of an owner on a network, or on all if networkID is
// empty.
func (m *Leases) ReleaseHeld(owner, networkID string) error {
	held := slices.DeleteFunc(m.store.Held(owner), func(h store.HeldLease) bool {
		return networkID != "" &&
			h.NetworkID != networkID
	})
	if len(held) == 0 {
		return nil
	}
	m.releaseAll(held)
	return m.store.DropHeldLeases(owner, networkID)
}

// ReleaseNetwork releases all held leases of a network that is about to be deleted.
func (m *Leases) ReleaseNetwork(networkID string) error {
	held := m.store.HeldOn(networkID)
	if len(held) == 0 {
		return nil
	}
	m.releaseAll(held)
	return m.store.DropHeldLeasesOn(networkID)
}

func (m *Leases) releaseAll(held []store.HeldLease) {
	for some := range slices.Chunk(held, maxReleases) {
		var all sync.WaitGroup
		for _, h := range some {
			all.Go(func() { m.Release(endpoint.Sandbox{Owner: h.Owner}, h.Endpoint()) })
		}
		all.Wait()
	}
}
