package attach

import (
	"errors"

	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Heal compares the endpoints of a sandbox with the kernel, repairs external changes, and returns
// what differed. It does nothing for an owner without a sandbox.
func (m *Syncer) Heal(owner string) (changes []string, err error) {
	defer m.locks.Owner(owner)()

	sb, ok := m.store.Sandbox(owner)
	if !ok || sb.NetnsOnly || sb.Mode != network.Private || m.locks.IsRemoving(owner) || !m.Exists(sb) {
		return nil, nil
	}

	defer m.locks.ReadGates(sb.NetworkIDs()...)()

	err = m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) error {
		var errs []error
		for _, e := range sb.Endpoints {
			n, d, known := m.NetworkOf(e)
			if healer, can := d.(driver.Healer); known && can {
				done, err := healer.Heal(ns.Kernel(), n, owner, e)
				changes, errs = append(changes, done...), append(errs, err)
			}
		}
		return errors.Join(errs...)
	})

	return changes, Fault(err, sb)
}
