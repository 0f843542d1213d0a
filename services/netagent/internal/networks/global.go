package networks

import (
	"context"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// createGlobal creates a network on all hosts of the fleet. It is stored when the fleet has it.
func createGlobal(ctx context.Context, m *Manager, want network.Draft) (network.Network, error) {
	if err := m.fleet.Check(ctx, network.Network{Name: want.Name}); err != nil {
		return network.Network{}, err
	}

	if len(want.IPAMOptions) > 0 {
		return network.Network{}, fault.New(fault.Invalid, "network "+want.Name,
			"IPAM options are not supported by driver overlay", fault.WithField("ipam_options"),
			fault.WithHint("omit them: no address source has any"))
	}

	var err error
	if want.ConfigFrom != "" {
		if want, err = m.configured(want); err != nil {
			return network.Network{}, err
		}
	}

	want = m.withOptions(want)
	n, err := want.Build()
	if err != nil {
		return n, err
	}
	if o, ok := m.store.NetworkNamed(n.Name); ok && o.ID != n.ID {
		return n, fault.New(fault.Exists, n.Subject(), "network with name "+n.Name+" already exists",
			fault.WithField("name"))
	}
	return m.fleet.Create(ctx, n, append(want.Pools, want.UnassignedPools()...))
}

// deleteGlobal deletes a network of the fleet that has no containers on this host. The fleet rejects
// it if another host has.
func deleteGlobal(ctx context.Context, m *Manager, n network.Network) error {
	if on := m.store.SandboxesOn(n.ID); len(on) > 0 {
		return inUse(n, on)
	}
	return m.fleet.Delete(ctx, n)
}

// Follow returns the function that applies a network of the fleet that has changed to firewall, host
// and endpoints.
func Follow(m *Manager) func(context.Context, network.Network) error {
	return func(ctx context.Context, n network.Network) error {
		if !n.IsOnHost() {
			return nil
		}
		return m.apply(ctx, n)
	}
}

// shadowed returns a warning about a network of the fleet with the name of a local network.
func shadowed(m *Manager, n network.Network) []string {
	if !n.IsGlobal() {
		return nil
	}
	for _, o := range m.store.Networks() {
		if o.Name == n.Name && !o.IsGlobal() {
			return []string{"network " + n.Name + " of the fleet is hidden by the local network " + o.String() +
				": use the ID " + id.Short(n.ID) + ", or remove the local network"}
		}
	}
	return nil
}
