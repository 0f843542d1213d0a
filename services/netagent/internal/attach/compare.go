package attach

import (
	"context"
	"fmt"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Compare returns the differences between the namespace of an owner and its record.
//
// It compares interfaces, addresses and default routes. It waits for concurrent changes of the
// sandbox. A sandbox that does not exist has no differences.
func (m *Syncer) Compare(owner string) (differences []string, err error) {
	defer m.locks.Owner(owner)()

	sb, ok := m.store.Sandbox(owner)
	if !ok || sb.NetnsOnly || sb.Mode != network.Private {
		return nil, nil
	}

	if !m.Exists(sb) {
		return []string{"its network namespace " + sb.NetnsPath + " is gone"}, nil
	}

	err = m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) (err error) {
		differences, err = m.compare(ns, sb)
		return err
	})

	return differences, Fault(err, sb)
}

func (m *Syncer) compare(ns namespace.Namespace, sb network.Sandbox) (differences []string, err error) {
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
func (m *Syncer) Repair(ctx context.Context, owner string) ([]string, error) {
	if differences, err := m.Compare(owner); err != nil || len(differences) == 0 {
		return nil, err
	}
	defer m.locks.Owner(owner)()
	sb, ok := m.store.Sandbox(owner)
	if !ok || sb.NetnsOnly || sb.Mode != network.Private || !m.Exists(sb) || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return m.repair(sb)
}

// repair is Repair with the owner's lock held.
func (m *Syncer) repair(sb network.Sandbox) (differences []string, err error) {
	err = m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) (err error) {
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
			if err := m.Reattach(ns, sb, e, exists); err != nil {
				return err
			}
		}
		return m.ApplyRoutes(ns, sb)
	})

	return differences, Fault(err, sb)
}

// Reattach reconciles one endpoint in a namespace with its record, or creates it if exists is
// false.
func (m *Syncer) Reattach(ns namespace.Namespace, sb network.Sandbox, e network.Endpoint, exists bool) error {
	n, d, ok := m.NetworkOf(e)
	if !ok || n.UsesDHCP() { // the lease renewer applies DHCP addresses
		return nil
	}
	if exists {
		return d.Renumber(ns.Kernel(), n, e, nil)
	}
	if err := d.Remove(n, sb, e); err != nil {
		return err
	}
	return d.Attach(ns.Kernel(), n, sb.Owner, e.WithoutRoutes())
}

// RepairAll repairs all sandboxes and logs each difference. A crash may have interrupted a change.
func (m *Syncer) RepairAll(ctx context.Context) {
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
