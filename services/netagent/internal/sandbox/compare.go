package sandbox

import (
	"context"
	"fmt"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Compare returns the differences between the namespace of an owner and its record.
//
// It compares interfaces, addresses and default routes. It waits for concurrent changes of the
// sandbox. A sandbox that does not exist has no differences.
func (m *Manager) Compare(owner string) (differences []string, err error) {
	defer m.owners.lock(m.pinOf(owner))()

	sb, ok := m.store.Sandbox(owner)
	if !ok || sb.NetnsOnly || sb.Mode != network.Private {
		return nil, nil
	}

	if !namespaceExists(sb) {
		return []string{"its network namespace " + sb.NetnsPath + " is gone"}, nil
	}

	err = kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) (err error) {
		differences, err = m.compare(ns, sb)
		return err
	})

	return differences, m.asFault(err, sb)
}

func (m *Manager) compare(ns *kernel.Namespace, sb network.Sandbox) (differences []string, err error) {
	have, err := ns.Addresses()
	if err != nil {
		return nil, err
	}

	for _, e := range sb.Endpoints {
		addresses, there := have[e.Interface]
		if !there {
			differences = append(differences, fmt.Sprintf("%s to network %s is missing or down", e.Interface,
				e.NetworkName))
			continue
		}
		for _, p := range e.Addresses() {
			if !slices.Contains(addresses, p) {
				differences = append(differences, fmt.Sprintf("%s lacks the address %s", e.Interface, p))
			}
		}
	}

	found, err := ns.DefaultRoutes()
	if err != nil {
		return nil, err
	}

	for _, w := range routes(sb) { // additional default routes belong to the container
		if !slices.ContainsFunc(found,
			func(have kernel.DefaultRoute) bool { return have.Gateway.Is4() == w.Gateway.Is4() }) {
			differences = append(differences, fmt.Sprintf("the default route via %s is missing", w.Gateway))
		}
	}

	return differences, nil
}

// Repair reconciles the namespace of an owner with its record and returns what differed. Missing
// interfaces are created again.
func (m *Manager) Repair(ctx context.Context, owner string) ([]string, error) {
	if differences, err := m.Compare(owner); err != nil || len(differences) == 0 {
		return nil, err
	}
	defer m.owners.lock(m.pinOf(owner))()
	sb, ok := m.store.Sandbox(owner)
	if !ok || sb.NetnsOnly || sb.Mode != network.Private || !namespaceExists(sb) || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return m.repair(sb)
}

// repair is Repair with the owner's lock held.
func (m *Manager) repair(sb network.Sandbox) (differences []string, err error) {
	err = kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) (err error) {
		// it may have changed in the meantime
		if differences, err = m.compare(ns, sb); err != nil || len(differences) == 0 {
			return err
		}
		have, err := ns.Addresses()
		if err != nil {
			return err
		}
		for _, e := range sb.Endpoints {
			_, exists := have[e.Interface]
			if err := m.reattach(ns, sb, e, exists); err != nil {
				return err
			}
		}
		return m.applyRoutes(ns, sb)
	})

	return differences, m.asFault(err, sb)
}

// reattach reconciles one endpoint in a namespace with its record, or creates it if exists is
// false.
func (m *Manager) reattach(ns *kernel.Namespace, sb network.Sandbox, e network.Endpoint, exists bool) error {
	n, driver, ok := m.networkOf(e)
	if !ok || n.UsesDHCP() { // the lease renewer applies DHCP addresses
		return nil
	}
	if exists {
		return driver.Renew(ns, n, e, nil)
	}
	if err := driver.Remove(n, sb, e); err != nil {
		return err
	}
	return driver.Attach(ns, n, sb.Owner, withoutRoutes(e))
}

// RepairAll repairs all sandboxes and logs each difference. A crash may have interrupted a change.
func (m *Manager) RepairAll(ctx context.Context) {
	for _, sb := range m.store.Sandboxes() {
		if ctx.Err() != nil {
			return
		}
		differed, err := m.Repair(ctx, sb.Owner)
		switch {
		case err != nil:
			m.log.Warn("sandbox not repaired", "container", sb.DisplayName(), "error", err)
		case len(differed) > 0:
			m.log.Info("sandbox repaired", "container", sb.DisplayName(), "differed", differed)
		}
	}
}
