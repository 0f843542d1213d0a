package sandbox

import (
	"errors"
	"log/slog"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// find is an owner's sandbox with one of its endpoints and that one's network; false if that is gone.
func (m *Manager) find(owner, endpoint string) (sb network.Sandbox, n network.Network, e network.Endpoint, ok bool) {
	if sb, ok = m.store.Sandbox(owner); !ok {
		return sb, n, e, false
	}
	i := slices.IndexFunc(sb.Endpoints, func(e network.Endpoint) bool { return e.ID == endpoint })
	if i < 0 {
		return sb, n, e, false
	}
	n, _, ok = m.networkOf(sb.Endpoints[i])
	return sb, n, sb.Endpoints[i], ok
}

// storeAndApplyLease stores what has become of a lease, nil for nothing, and has the endpoint follow.
func (m *Manager) storeAndApplyLease(owner string, who leaseKey, terms *lease.Terms, log *slog.Logger) error {
	defer m.owners.lock(m.pinOf(owner))()
	sb, n, before, ok := m.find(owner, who.endpoint)
	if !ok {
		return nil // it has ended meanwhile, and what was granted goes by itself
	}
	if terms != nil {
		copied := *terms
		terms = &copied
	}
	had, e := before.Lease4, before.WithLeases(terms, before.Lease6)
	if who.ipv6 {
		had, e = before.Lease6, before.WithLeases(before.Lease4, terms)
	}
	e.DNS = n.NameServersFor(e)
	e.LeaseUnapplied = before.LeaseUnapplied || had == nil || terms == nil || !had.SameConfig(*terms)
	after := m.withRoutes(sb, replaced(sb.Endpoints, e))
	if err := m.store.PutSandbox(after); err != nil {
		return err
	}
	defer m.NotifyChanged() // names and ports follow
	tell(log.With("network", n.Name, "container", sb.DisplayName(), "interface", e.Interface), had, terms)
	if !e.LeaseUnapplied {
		return nil
	}
	e, _ = on(after, n)
	err := kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
		return errors.Join(m.LAN.ApplyLease(ns, n, before, e), m.applyRoutes(ns, after))
	})
	if err != nil {
		return err
	}
	return m.markApplied(after, e)
}

// markApplied notes that an endpoint's interface is as its lease says.
func (m *Manager) markApplied(sb network.Sandbox, e network.Endpoint) error {
	e.LeaseUnapplied = false
	sb.Endpoints = replaced(sb.Endpoints, e)
	return m.store.PutSandbox(sb)
}

// reapplyLeases has interfaces be as their leases say which a process that was killed has left behind these.
func (m *Manager) reapplyLeases(log *slog.Logger) {
	for _, sb := range m.store.Sandboxes() {
		for _, e := range sb.Endpoints {
			if !e.LeaseUnapplied || !kernel.Pinned(sb.NetnsPath) {
				continue
			}
			if err := m.reapplyLease(sb.Owner, e.ID); err != nil {
				log.Error("lease cannot be applied", "endpoint", e.ID, "error", err)
			}
		}
	}
}

func (m *Manager) reapplyLease(owner, endpoint string) error {
	defer m.owners.lock(m.pinOf(owner))()
	sb, n, e, ok := m.find(owner, endpoint)
	if !ok || !e.LeaseUnapplied {
		return nil
	}
	err := kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
		return errors.Join(m.drivers[n.Driver].Renew(ns, n, e, nil), m.applyRoutes(ns, sb))
	})
	if err != nil {
		return err
	}
	return m.markApplied(sb, e)
}

// tell tells what has become of a lease.
func tell(log *slog.Logger, had, has *lease.Terms) {
	switch {
	case has == nil && had != nil:
		log.Warn("lease has ended, and the address with it; asking for another", "address", had.Address, "expired", had.Expire)
	case has == nil:
	case had == nil:
		log.Info("lease got", "by", has.Protocol, "address", has.Address, "expires", has.Expire)
	case had.Address != has.Address:
		log.Warn("lease is for another address now", "address", has.Address, "before", had.Address, "expires", has.Expire)
	default:
		log.Info("lease renewed", "by", has.Protocol, "address", has.Address, "expires", has.Expire)
	}
}
