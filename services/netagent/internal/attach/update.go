package attach

import (
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// UpdateEndpoints applies a change of a network's subnets or MTU to its sandboxes. They keep their
// addresses.
func (m *Syncer) UpdateEndpoints(n network.Network) error {
	var errs []error
	for _, sb := range m.store.SandboxesOn(n.ID) {
		errs = append(errs, m.updateOwner(sb.Owner, n))
	}
	return errors.Join(errs...)
}

func (m *Syncer) updateOwner(owner string, n network.Network) error {
	defer m.locks.Owner(owner)()
	sb, ok := m.store.Sandbox(owner)
	if !ok {
		return nil // removed in the meantime
	}
	_, err := m.update(sb, n)
	return err
}

// update applies a network to a sandbox and returns the updated sandbox. The owner's lock must be
// held.
func (m *Syncer) update(sb endpoint.Sandbox, n network.Network) (endpoint.Sandbox, error) {
	e, connected := sb.EndpointOn(n.ID)
	d, known := m.drivers[n.Driver]
	if !connected || !known || !m.namespaces.Exists(sb.NetnsPath) {
		return sb, nil
	}

	now := e.WithPrefixLens(n)
	err := m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) error {
		_, err := d.Apply(ns.Kernel(), n, sb.Owner, now, nil)
		return err
	})
	// Without its link the endpoint is applied when package bringup has created the link again.
	if err != nil && !fault.Is(err, fault.Unavailable) {
		return sb, Fault(err, sb)
	}

	sb.Endpoints = endpoint.Replace(sb.Endpoints, now)
	return sb, m.store.PutSandbox(sb)
}
