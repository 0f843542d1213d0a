package leases

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// find returns the sandbox of an owner, one of its endpoints and the network of that endpoint. ok
// is false if one of them does not exist.
func (m *Leases) find(owner, id string) (sb endpoint.Sandbox, n network.Network, e endpoint.Endpoint, ok bool) {
	if sb, ok = m.store.Sandbox(owner); !ok {
		return sb, n, e, false
	}
	i := slices.IndexFunc(sb.Endpoints, func(e endpoint.Endpoint) bool { return e.ID == id })
	if i < 0 {
		return sb, n, e, false
	}
	n, _, ok = m.attach.NetworkOf(sb.Endpoints[i])
	return sb, n, sb.Endpoints[i], ok
}

// storeAndApplyLease stores the new terms of a lease, nil if it is lost, and applies them to the
// endpoint.
func (m *Leases) storeAndApplyLease(owner string, key leaseKey, terms *lease.Terms, log *slog.Logger) error {
	defer m.locks.Owner(owner)()

	sb, n, before, ok := m.find(owner, key.endpoint)
	if !ok {
		return nil // removed in the meantime; the granted lease will expire
	}

	if terms != nil {
		copied := *terms
		terms = &copied
	}

	had, e := before.Lease4, before.WithLeases(terms, before.Lease6)
	if key.ipv6 {
		had, e = before.Lease6, before.WithLeases(before.Lease4, terms)
	}

	e.DNS = e.NameServers(n)
	e.LeaseUnapplied = before.LeaseUnapplied || had == nil || terms == nil || !had.SameConfig(*terms)
	after := m.attach.WithRoutes(sb, endpoint.Replace(sb.Endpoints, e))
	if err := m.store.PutSandbox(after); err != nil {
		return err
	}

	logLease(log.With("network", n.Name, "container", sb.DisplayName(), "interface", e.Interface), had, terms)
	if !e.LeaseUnapplied {
		return nil
	}

	e, _ = after.EndpointOn(n.ID)
	err := m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) error {
		return m.applyIn(ns, after, n, e, before.Addresses())
	})
	if err != nil {
		return err
	}

	return m.markApplied(after, e)
}

// markApplied records that the interface of an endpoint has the addresses of its lease.
func (m *Leases) markApplied(sb endpoint.Sandbox, e endpoint.Endpoint) error {
	e.LeaseUnapplied = false
	sb.Endpoints = endpoint.Replace(sb.Endpoints, e)
	return m.store.PutSandbox(sb)
}

// reapplyLeases applies the leases that an earlier process stored but did not apply.
func (m *Leases) reapplyLeases(log *slog.Logger) {
	for _, sb := range m.store.Sandboxes() {
		for _, e := range sb.Endpoints {
			if !e.LeaseUnapplied || !m.namespaces.Exists(sb.NetnsPath) {
				continue
			}
			if err := m.reapplyLease(sb.Owner, e.ID); err != nil {
				log.Error("lease not applied", "endpoint", e.ID, "error", err)
			}
		}
	}
}

func (m *Leases) reapplyLease(owner, endpoint string) error {
	defer m.locks.Owner(owner)()
	sb, n, e, ok := m.find(owner, endpoint)
	if !ok || !e.LeaseUnapplied {
		return nil
	}

	err := m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) error {
		have, err := ns.Addresses()
		if err != nil {
			return err
		}
		former := slices.DeleteFunc(have[e.Interface], func(p netip.Prefix) bool {
			return p.Addr().IsLinkLocalUnicast()
		})
		return m.applyIn(ns, sb, n, e, former)
	})
	if err != nil {
		return err
	}
	return m.markApplied(sb, e)
}

// applyIn applies an endpoint and the routes of its sandbox in the namespace. It removes the addresses
// in gone that the endpoint does not have.
func (m *Leases) applyIn(
	ns namespace.Namespace, sb endpoint.Sandbox, n network.Network, e endpoint.Endpoint, gone []netip.Prefix,
) error {
	_, d, _ := m.attach.NetworkOf(e)
	_, err := d.Apply(ns.Kernel(), n, sb.Owner, e, endpoint.Difference(gone, e.AllAddresses()))
	return errors.Join(err, m.attach.ApplyRoutes(ns, sb))
}

// logLease logs the change of a lease from had to has.
func logLease(log *slog.Logger, had, has *lease.Terms) {
	switch {
	case has == nil && had != nil:
		log.Warn("lease expired, requesting a new one", "address", had.Address, "expired", had.Expire)
	case has == nil:
	case had == nil:
		log.Info("lease acquired", "by", has.Protocol, "address", has.Address, "expires", has.Expire)
	case had.Address != has.Address:
		log.Warn("leased address changed", "address", has.Address, "before", had.Address, "expires", has.Expire)
	default:
		log.Info("lease renewed", "by", has.Protocol, "address", has.Address, "expires", has.Expire)
	}
}
