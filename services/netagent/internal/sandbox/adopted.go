package sandbox

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
)

// adoptAgain pins the namespace of another program again if the pin was lost, and reports whether the sandbox exists.
// Another namespace can be at the path since then; it does not have the addresses of the sandbox.
func (m *Manager) adoptAgain(sb endpoint.Sandbox) bool {
	if sb.External == "" {
		return false
	}
	if err := m.namespaces.Adopt(sb.External, sb.NetnsPath, nil); err != nil {
		return false // the program has removed it, or the host has started again
	}

	same := len(sb.Endpoints) == 0
	err := m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) error {
		all, err := ns.Addresses()
		same = same || slices.ContainsFunc(sb.Endpoints, func(e endpoint.Endpoint) bool {
			return slices.ContainsFunc(all[e.Interface], func(p netip.Prefix) bool {
				return p == e.IPv4 || p == e.IPv6
			})
		})
		return err
	})
	if err == nil && same {
		m.log.Warn("namespace pin of another program's namespace lost, pinned again", "owner", sb.Owner, "path",
			sb.External)
		return true
	}

	if err := m.namespaces.Unpin(sb.NetnsPath); err != nil {
		m.log.Error("cannot unpin a namespace that is not that of its sandbox", "owner", sb.Owner, "error", err)
	}
	return false
}

// removeAdopted removes a sandbox from a namespace that remains. The record is deleted last: nothing but it says what
// is in the namespace.
func (m *Manager) removeAdopted(sb endpoint.Sandbox) error {
	if !m.attach.Exists(sb) {
		m.adoptAgain(sb) // otherwise the endpoints have ended with the namespace
	}
	if err := m.detachAll(sb); err != nil {
		return err
	}
	if err := m.store.DeleteSandboxes(sb.Owner); err != nil {
		return err
	}
	m.addresses.Release(sb)
	return nil
}
