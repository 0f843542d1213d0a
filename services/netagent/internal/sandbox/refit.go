package sandbox

import (
	"errors"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// UpdateEndpoints applies a change of a network's subnets or MTU to its sandboxes. They keep their
// addresses.
func (m *Manager) UpdateEndpoints(n network.Network) error {
	var errs []error
	for _, sb := range m.store.SandboxesOn(n.ID) {
		errs = append(errs, m.refit(sb.Owner, n))
	}
	return errors.Join(errs...)
}

func (m *Manager) refit(owner string, n network.Network) error {
	defer m.owners.lock(m.pinOf(owner))()
	sb, ok := m.store.Sandbox(owner)
	if !ok {
		return nil // removed in the meantime
	}
	_, err := m.refitted(sb, n)
	return err
}

// refitted applies a network to a sandbox and returns the updated sandbox. The owner's lock must be
// held.
func (m *Manager) refitted(sb network.Sandbox, n network.Network) (network.Sandbox, error) {
	e, connected := on(sb, n)
	driver, known := m.drivers[n.Driver]
	if !connected || !known || !kernel.Pinned(sb.NetnsPath) {
		return sb, nil
	}

	now := e.WithPrefixLens(n)
	err := kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error { return driver.Refit(ns, n, now) })
	if err != nil {
		return sb, m.asFault(err, sb)
	}

	sb.Endpoints = slices.Clone(sb.Endpoints)
	for i := range sb.Endpoints {
		if sb.Endpoints[i].ID == now.ID {
			sb.Endpoints[i] = now
		}
	}

	return sb, m.store.PutSandbox(sb)
}
