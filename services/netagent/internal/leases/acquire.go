package leases

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
)

// Obtain requests addresses from the LAN for the given endpoints on networks with DHCP. It
// returns the sandbox with these addresses and the resulting routes. It prefers the held leases of
// the owner, and releases everything it acquired on failure.
func (m *Leases) Obtain(
	ctx context.Context, ns namespace.Namespace, sb endpoint.Sandbox, some ...endpoint.Endpoint,
) (endpoint.Sandbox, error) {
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
		got.DNS = got.NameServers(n)
		sb = m.attach.WithRoutes(sb, endpoint.Replace(sb.Endpoints, got))
	}

	return sb, nil
}

// ForgetHeld deletes the held leases of an owner for the networks that it is connected to again.
func (m *Leases) ForgetHeld(sb endpoint.Sandbox) error {
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
func (m *Leases) Hold(sb endpoint.Sandbox) error {
	if !Has(sb) {
		return nil
	}
	return m.store.Hold(sb)
}

// had returns the endpoint of the held lease of an owner on a network. It is empty without one.
func (m *Leases) had(owner, networkID string) endpoint.Endpoint {
	for _, h := range m.store.Held(owner) {
		if h.NetworkID == networkID {
			return h.Endpoint()
		}
	}
	return endpoint.Endpoint{}
}

// Has reports whether any endpoint of a sandbox has a DHCP lease.
func Has(sb endpoint.Sandbox) bool {
	return slices.ContainsFunc(sb.Endpoints, func(e endpoint.Endpoint) bool { return len(e.Leases()) > 0 })
}
