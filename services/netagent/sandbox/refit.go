package sandbox

import (
	"errors"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/kernel"
	"github.com/fairlead/fairlead/services/netagent/network"
)

// Refit has the sandboxes on a network follow a change of its subnets or its MTU. They keep their addresses.
func (m *Manager) Refit(n network.Network) error {
	var errs []error
	for _, sb := range m.store.SandboxesOn(n.ID) {
		errs = append(errs, m.refit(sb.Owner, n))
	}
	return errors.Join(errs...)
}

func (m *Manager) refit(owner string, n network.Network) error {
	defer m.owners.lock(m.pinOf(owner))()
	sb, ok := m.store.Sandbox(owner)
	e, there := on(sb, n)
	driver, known := m.drivers[n.Driver]
	if !ok || !there || !known || !kernel.Pinned(sb.NetnsPath) {
		return nil // it has ended meanwhile
	}
	now := e.Refitted(n)
	err := kernel.InPinned(sb.NetnsPath, func(ns *kernel.Namespace) error { return driver.Refit(ns, n, now) })
	if err != nil {
		return m.asFault(err, sb)
	}
	sb.Endpoints = slices.Clone(sb.Endpoints)
	for i := range sb.Endpoints {
		if sb.Endpoints[i].ID == now.ID {
			sb.Endpoints[i] = now
		}
	}
	return m.store.PutSandbox(sb)
}
