package attach

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
)

// Apply makes the namespace of an owner, and the host's side of its endpoints, as the record says. It
// returns the changes. It waits for concurrent changes of the sandbox, and does nothing for an owner
// without a sandbox.
func (m *Syncer) Apply(owner string) (changes []string, err error) {
	defer m.locks.Owner(owner)()
	return m.apply(owner)
}

// apply is Apply with the owner's lock held.
func (m *Syncer) apply(owner string) (changes []string, err error) {
	sb, ok := m.repairable(owner)
	if !ok {
		return nil, nil
	}

	defer m.locks.ReadNetworks(sb.NetworkIDs()...)()
	err = m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) (err error) {
		changes, err = m.applyIn(ns, sb)
		return err
	})
	return changes, Fault(err, sb)
}

// repairable returns the sandbox of an owner. ok is false if it has no namespace with endpoints.
func (m *Syncer) repairable(owner string) (sb endpoint.Sandbox, ok bool) {
	sb, ok = m.store.Sandbox(owner)
	return sb, ok && !sb.NetnsOnly && sb.Mode == endpoint.Private && m.Exists(sb)
}

// applyIn applies all endpoints in the namespace of a sandbox, and the routes that are missing then.
func (m *Syncer) applyIn(ns namespace.Namespace, sb endpoint.Sandbox) (changes []string, err error) {
	for _, e := range sb.Endpoints {
		n, d, known := m.NetworkOf(e)
		if !known {
			continue
		}
		done, aerr := d.Apply(ns.Kernel(), n, sb.Owner, e, nil)
		changes, err = append(changes, done...), errors.Join(err, aerr)
	}
	if err != nil {
		return changes, err
	}

	if dhcp := m.dhcpInterfaces(sb); len(dhcp) > 0 && len(changes) > 0 {
		err = ns.SetDHCPRoutes(dhcp, linkRoutes(sb))
	}
	missing, merr := missingRoutes(ns, sb)
	if err = errors.Join(err, merr); err == nil && len(missing) > 0 {
		changes = append(changes, fmt.Sprintf("default routes via %v", missing))
		err = ns.SetDefaultRoutes(routes(sb))
	}
	return changes, err
}

// Repair applies the record of an owner if its namespace differs from it, and returns what differed.
func (m *Syncer) Repair(ctx context.Context, owner string) ([]string, error) {
	differences, err := m.Compare(owner)
	if err != nil || len(differences) == 0 || ctx.Err() != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	if sb, ok := m.store.Sandbox(owner); !ok || !m.Exists(sb) {
		return nil, nil // there is no namespace to repair
	}
	_, err = m.Apply(owner)
	return differences, err
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

// ApplyIn applies all endpoints of a sandbox in its namespace. The owner's lock must be held.
func (m *Syncer) ApplyIn(ns namespace.Namespace, sb endpoint.Sandbox) error {
	_, err := m.applyIn(ns, sb)
	return err
}

// Recreate removes an endpoint that can be incomplete from a namespace, and creates it again.
func (m *Syncer) Recreate(ns namespace.Namespace, sb endpoint.Sandbox, e endpoint.Endpoint) error {
	n, d, ok := m.NetworkOf(e)
	if !ok || n.UsesDHCP() { // the lease renewer applies DHCP addresses
		return nil
	}
	if err := d.Remove(n, sb, e); err != nil {
		return err
	}
	return d.Attach(ns.Kernel(), n, sb.Owner, e.WithoutRoutes())
}
