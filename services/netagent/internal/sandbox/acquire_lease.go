package sandbox

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// obtain requests addresses from the LANDriver for the given endpoints on networks with DHCP. It
// returns the sandbox with these addresses and the resulting routes. It prefers the held leases of
// the owner, and releases everything it acquired on failure.
func (m *Manager) obtain(
	ctx context.Context, ns *kernel.Namespace, sb network.Sandbox, some ...network.Endpoint,
) (network.Sandbox, error) {
	before := sb
	for _, e := range some {
		n, _, ok := m.networkOf(e)
		if !ok || !n.UsesDHCP() {
			continue
		}
		got, err := m.lan.AcquireLease(ctx, ns, n, sb, e, m.had(sb.Owner, n.ID))
		if err != nil {
			m.releaseLeases(sb)
			return before, err
		}
		got.DNS = n.NameServersFor(got)
		sb = m.withRoutes(sb, replaced(sb.Endpoints, got))
	}

	return sb, nil
}

// forgetHeld deletes the held leases of an owner for the networks that it is connected to again.
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

// holdLeases stores the DHCP leases of a stopping sandbox, so that the next one can request them.
func (m *Manager) holdLeases(sb network.Sandbox) error {
	if !leased(sb) {
		return nil
	}
	return m.store.Hold(sb)
}

// replaced returns a copy of the endpoints in which the one with the ID of now is replaced.
func replaced(all []network.Endpoint, now network.Endpoint) []network.Endpoint {
	out := slices.Clone(all)
	for i := range out {
		if out[i].ID == now.ID {
			out[i] = now
		}
	}
	return out
}

// had returns the endpoint of the held lease of an owner on a network. It is empty without one.
func (m *Manager) had(owner, networkID string) network.Endpoint {
	for _, h := range m.store.Held(owner) {
		if h.NetworkID == networkID {
			return h.Endpoint()
		}
	}
	return network.Endpoint{}
}

// leased reports whether any endpoint of a sandbox has a DHCP lease.
func leased(sb network.Sandbox) bool {
	return slices.ContainsFunc(sb.Endpoints, func(e network.Endpoint) bool { return len(e.Leases()) > 0 })
}
