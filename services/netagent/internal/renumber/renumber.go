// Package renumber replaces the addresses of sandboxes after a change of their networks.
//
// Renumbering a network, or adding IPv6 to it, changes only its desired state. Each sandbox follows
// in two steps, Renumber and CompleteRenumbering. In between it has its former and its new addresses,
// so that DNS and ports can be updated. Each step is stored before it is applied, and repeated after
// a crash. The supervisor calls it over package api.
package renumber

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Config holds the dependencies of a Renumberer.
type Config struct {
	Store      *store.Store
	Drivers    driver.Set
	Addresses  *address.Addresses
	Source     address.Source // extends exhausted pools; nil: they do not grow
	Attach     *attach.Syncer
	Locks      *lock.Set
	Namespaces namespace.Keeper
	Ready      func() error // returns an error while the agent starts
	Log        *slog.Logger // nil discards
}

// Renumberer replaces the addresses of sandboxes. It is safe for concurrent use.
type Renumberer struct {
	store      *store.Store
	drivers    driver.Set
	addresses  *address.Addresses
	source     address.Source
	attach     *attach.Syncer
	locks      *lock.Set
	namespaces namespace.Keeper
	ready      func() error
	log        *slog.Logger
}

// New returns a renumberer.
func New(cfg Config) *Renumberer {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Renumberer{store: cfg.Store, drivers: cfg.Drivers, addresses: cfg.Addresses, source: cfg.Source,
		attach: cfg.Attach, locks: cfg.Locks, namespaces: cfg.Namespaces, ready: cfg.Ready,
		log: cfg.Log}
}

// NeedsRenumbering reports whether a sandbox lacks addresses of its networks, or has not completed
// a renumbering.
func (m *Renumberer) NeedsRenumbering(sb endpoint.Sandbox) bool { return m.store.NeedsRenumbering(sb) }

// Renumber adds the new addresses of a sandbox. It is idempotent.
func (m *Renumberer) Renumber(ctx context.Context, owner string) (endpoint.Sandbox, error) {
	if err := errors.Join(endpoint.ValidateOwner(owner), m.ready()); err != nil {
		return endpoint.Sandbox{}, err
	}
	var sb endpoint.Sandbox
	err := address.Retry(ctx, m.source, func() (err error) {
		sb, err = m.renew(owner)
		return err
	})
	return sb, err
}

func (m *Renumberer) renew(owner string) (endpoint.Sandbox, error) {
	defer m.locks.Owner(owner)()

	sb, err := m.attach.Running(owner)
	defer m.locks.ReadNetworks(sb.NetworkIDs()...)()
	if err != nil || !m.NeedsRenumbering(sb) {
		return sb, err
	}

	after := sb
	after.Endpoints = slices.Clone(sb.Endpoints)
	for i, e := range sb.Endpoints {
		n, _, ok := m.attach.NetworkOf(e)
		if !ok || !e.NeedsRenumbering(n) {
			continue
		}
		if after.Endpoints[i], err = m.renewed(owner, n, e); err != nil {
			m.addresses.ReleaseDifference(sb, after)
			return sb, err
		}
	}

	after.Endpoints = endpoint.KeepGateways(sb.Endpoints, m.attach.WithRoutes(after, after.Endpoints).Endpoints,
		m.attach.NetworksOf(after))
	if err := m.store.PutSandbox(after); err != nil {
		m.addresses.ReleaseDifference(sb, after)
		return sb, err
	}
	if err := m.readdress(sb, after, true); err != nil {
		back := errors.Join(m.readdress(after, sb, true), m.store.PutSandbox(sb))
		m.addresses.ReleaseDifference(sb, after)
		return sb, errors.Join(err, back)
	}

	return after, nil
}

// Resume applies the stored addresses of renumbering sandboxes after a crash.
func (m *Renumberer) Resume() error {
	var errs []error
	for _, sb := range m.store.Sandboxes() {
		if slices.ContainsFunc(sb.Endpoints, func(e endpoint.Endpoint) bool { return e.Renumbering }) {
			err := m.readdress(sb, sb, true)
			// the parent interface is missing; the supervisor retries
			if fault.Is(err, fault.Unavailable) {
				m.log.Warn("renumbering incomplete", "container", sb.DisplayName(), "error", err)
				err = nil
			}
			errs = append(errs, err)
		}
	}

	return errors.Join(errs...)
}

// renewed allocates the addresses that an endpoint lacks on its network. Its other addresses become
// former ones.
func (m *Renumberer) renewed(owner string, n network.Network, e endpoint.Endpoint) (endpoint.Endpoint, error) {
	next := e
	next.Former = slices.Clone(e.Former)
	next.Renumbering = true
	for _, pools := range network.ByFamily(n.Spec.Pools) {
		has := e.IPv4
		if pools[0].Subnet.Addr().Is6() {
			has = e.IPv6
		}
		if has.IsValid() && slices.ContainsFunc(pools,
			func(p network.Pool) bool { return p.Subnet.Contains(has.Addr()) }) {
			continue
		}
		if back, ok := next.RestoreAddr(pools); ok { // a former address is in the pools again
			next = back
			continue
		}
		p, addr, err := m.addresses.SameHost(owner, n, pools, e.Spec.WithCurrentAddrs(n), has.Addr())
		if err != nil {
			return next, err
		}
		next = next.WithNewAddr(netip.PrefixFrom(addr, p.Subnet.Bits()))
	}

	return m.drivers[n.Driver].Complete(n, next.Without(n)), nil
}

// readdress sets the addresses of the renumbering endpoints, and with setRoutes the default routes.
func (m *Renumberer) readdress(before, after endpoint.Sandbox, setRoutes bool) error {
	err := m.namespaces.Within(after.NetnsPath, func(ns namespace.Namespace) error {
		for i, e := range after.Endpoints {
			n, d, ok := m.attach.NetworkOf(e)
			// the lease renewer applies DHCP addresses
			if !ok || n.UsesDHCP() || !e.Renumbering && !before.Endpoints[i].Renumbering {
				continue
			}
			gone := endpoint.Difference(before.Endpoints[i].AllAddresses(), e.AllAddresses())
			if _, err := d.Apply(ns.Kernel(), n, after.Owner, e, gone); err != nil {
				return err
			}
		}
		if !setRoutes {
			return nil
		}
		return m.attach.ApplyRoutes(ns, after)
	})

	return attach.Fault(err, after)
}

// CompleteRenumbering removes the former addresses of a sandbox and returns them. It does nothing
// if there are none.
func (m *Renumberer) CompleteRenumbering(_ context.Context, owner string) ([]netip.Addr, error) {
	if err := errors.Join(endpoint.ValidateOwner(owner), m.ready()); err != nil {
		return nil, err
	}

	defer m.locks.Owner(owner)()

	sb, err := m.attach.Running(owner)
	if err != nil {
		return nil, err
	}

	after, gone := sb, []netip.Addr(nil)
	after.Endpoints = slices.Clone(sb.Endpoints)
	for i, e := range sb.Endpoints {
		for _, p := range e.Former {
			gone = append(gone, p.Addr())
		}
		after.Endpoints[i].Former, after.Endpoints[i].Renumbering = nil, false
	}

	// The kernel is changed first: after a crash, the stored former addresses are removed again.
	if err := m.readdress(sb, after, false); err != nil {
		return nil, err
	}
	if err := m.store.PutSandbox(after); err != nil {
		return nil, err
	}

	m.addresses.ReleaseDifference(after, sb)
	return gone, nil
}
