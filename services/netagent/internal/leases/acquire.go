package leases

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Obtain requests addresses from the LAN for the given endpoints on networks with DHCP. It
// returns the sandbox with these addresses and the resulting routes. It prefers the held leases of
// the owner, and releases everything it acquired on failure.
func (m *Leases) Obtain(
	ctx context.Context, ns namespace.Namespace, sb network.Sandbox, some ...network.Endpoint,
) (network.Sandbox, error) {
	before := sb
	for _, e := range some {
		n, _, ok := m.attach.NetworkOf(e)
		if !ok || !n.UsesDHCP() {
			continue
		}
		got, err := m.lan.AcquireLease(ctx, ns.Kernel(), n, sb, e, m.had(sb.Owner, n.ID))
		if err != nil {
			m.Release(sb)
			return before, err
		}
		got.DNS = n.NameServersFor(got)
		sb = m.attach.WithRoutes(sb, network.ReplaceEndpoint(sb.Endpoints, got))
	}

	return sb, nil
}

// ForgetHeld deletes the held leases of an owner for the networks that it is connected to again.
func (m *Leases) ForgetHeld(sb network.Sandbox) error {
	for _, h := range m.store.Held(sb.Owner) {
		if _, ok := sb.EndpointOn(h.NetworkID); ok {
			if err := m.store.DropHeldLeases(sb.Owner, h.NetworkID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Hold stores the DHCP leases of a stopping sandbox, so that the next one can request them.
func (m *Leases) Hold(sb network.Sandbox) error {
	if !Has(sb) {
		return nil
	}
	return m.store.Hold(sb)
}

// had returns the endpoint of the held lease of an owner on a network. It is empty without one.
func (m *Leases) had(owner, networkID string) network.Endpoint {
	for _, h := range m.store.Held(owner) {
		if h.NetworkID == networkID {
			return h.Endpoint()
		}
	}
	return network.Endpoint{}
}

// Has reports whether any endpoint of a sandbox has a DHCP lease.
func Has(sb network.Sandbox) bool {
	return slices.ContainsFunc(sb.Endpoints, func(e network.Endpoint) bool { return len(e.Leases()) > 0 })
}
