package attach

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
)

// Compare returns the differences between the namespace of an owner and its record.
//
// It compares interfaces, addresses and default routes. It waits for concurrent changes of the
// sandbox. A sandbox that does not exist has no differences.
func (m *Syncer) Compare(owner string) (differences []string, err error) {
	defer m.locks.Owner(owner)()

	sb, ok := m.store.Sandbox(owner)
	if !ok || sb.NetnsOnly || sb.Mode != endpoint.Private {
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

func (m *Syncer) compare(ns namespace.Namespace, sb endpoint.Sandbox) (differences []string, err error) {
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

	missing, err := missingRoutes(ns, sb)
	for _, gateway := range missing {
		differences = append(differences, fmt.Sprintf("the default route via %s is missing", gateway))
	}
	return differences, err
}

// missingRoutes returns the gateways of the default routes that a namespace lacks. A default route of
// the same family through another gateway belongs to the container.
func missingRoutes(ns namespace.Namespace, sb endpoint.Sandbox) (gateways []netip.Addr, err error) {
	found, err := ns.DefaultRoutes()
	if err != nil {
		return nil, err
	}

	for _, w := range routes(sb) {
		if !slices.ContainsFunc(found,
			func(have kernel.DefaultRoute) bool { return have.Gateway.Is4() == w.Gateway.Is4() }) {
			gateways = append(gateways, w.Gateway)
		}
	}
	return gateways, nil
}
