package sandbox

import (
	"errors"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Healer is a driver that can repair an endpoint of a running container.
type Healer interface {
	// Heal compares an endpoint with the kernel, repairs it, and returns what differed.
	Heal(*kernel.Namespace, network.Network, string, network.Endpoint) (changes []string, err error)
}

// Heal compares the endpoints of a sandbox with the kernel, repairs external changes, and returns
// what differed. It does nothing for an owner without a sandbox.
func (m *Manager) Heal(owner string) (changes []string, err error) {
	defer m.owners.lock(m.pinOf(owner))()

	sb, ok := m.store.Sandbox(owner)
	if !ok || sb.NetnsOnly || sb.Mode != network.Private || m.Leaving(owner) || !namespaceExists(sb) {
		return nil, nil
	}

	var on []string
	for _, e := range sb.Endpoints {
		on = append(on, e.NetworkID)
	}

	defer m.netLocks.RLock(on)()

	err = kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
		var errs []error
		for _, e := range sb.Endpoints {
			n, driver, known := m.networkOf(e)
			if healer, can := driver.(Healer); known && can {
				done, err := healer.Heal(ns, n, owner, e)
				changes, errs = append(changes, done...), append(errs, err)
			}
		}
		return errors.Join(errs...)
	})

	return changes, m.asFault(err, sb)
}
