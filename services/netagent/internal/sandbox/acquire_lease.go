package sandbox

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// obtain has the LANDriver grant addresses to those among some endpoints of a sandbox that get theirs there, and answers the sandbox with them
// and with the default routes that follow. What the owner had before it asks for again. If it fails, nothing is granted.
func (m *Manager) obtain(ctx context.Context, ns *kernel.Namespace, sb network.Sandbox, some ...network.Endpoint) (network.Sandbox, error) {
	before := sb
	for _, e := range some {
		n, _, ok := m.networkOf(e)
		if !ok || !n.UsesDHCP() {
			continue
		}
		got, err := m.LAN.AcquireLease(ctx, ns, n, sb, e, m.had(sb.Owner, n.ID))
		if err != nil {
			m.releaseLeases(sb)
			return before, err
		}
		got.DNS = n.NameServersFor(got)
		sb = m.withRoutes(sb, replaced(sb.Endpoints, got))
	}
	return sb, nil
}

// forgetHeld forgets what was held for an owner until it came back, now that it has.
func (m *Manager) forgetHeld(sb network.Sandbox) error {
	for _, h := range m.store.Held(sb.Owner) {
		if _, ok := on(sb, network.Network{ID: h.NetworkID}); ok {
			if err := m.store.DropHeldLeases(sb.Owner, h.NetworkID); err != nil {
				return err
			}
		}
	}
	return nil
}

// holdLeases holds for an owner who goes what the LANDriver has granted it, until it comes back.
func (m *Manager) holdLeases(sb network.Sandbox) error {
	if !leased(sb) {
		return nil
	}
	return m.store.Hold(sb)
}

// replaced is a copy of endpoints with one of them as it is now.
func replaced(all []network.Endpoint, now network.Endpoint) []network.Endpoint {
	out := slices.Clone(all)
	for i := range out {
		if out[i].ID == now.ID {
			out[i] = now
		}
	}
	return out
}

// had is what the LANDriver has granted an owner on a network when it was there last.
func (m *Manager) had(owner, networkID string) network.Endpoint {
	for _, h := range m.store.Held(owner) {
		if h.NetworkID == networkID {
			return h.Endpoint()
		}
	}
	return network.Endpoint{}
}

// leased tells whether anything of a sandbox is granted by a LANDriver.
func leased(sb network.Sandbox) bool {
	return slices.ContainsFunc(sb.Endpoints, func(e network.Endpoint) bool { return len(e.Leases()) > 0 })
}
