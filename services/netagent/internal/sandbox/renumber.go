package sandbox

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// A network that is renumbered, or gets IPv6, only says where its sandboxes are to go. Each gets there in two steps, between which it has
// its old addresses as well as the new ones, so that whoever leads names and ports can follow: Renew and Settle. What a step is about
// to do is stored first; after a crash the same step is made again.

// Watch answers a channel that has something in it at first, and whenever sandboxes may have fallen behind, until stop is called.
func (m *Manager) Watch() (changed <-chan struct{}, stop func()) {
	return m.renumberNotifier.Subscribe()
}

// NeedsRenumbering tells whether a sandbox is to have other addresses than it has, or has not settled with those that it got.
func (m *Manager) NeedsRenumbering(sb network.Sandbox) bool {
	return slices.ContainsFunc(sb.Endpoints, func(e network.Endpoint) bool {
		n, _, ok := m.networkOf(e)
		return ok && e.NeedsRenumbering(n)
	})
}

// Renumber gives a sandbox the addresses that it is to have. Asked again it answers the same.
func (m *Manager) Renumber(ctx context.Context, owner string) (network.Sandbox, error) {
	if err := errors.Join(network.ValidateOwner(owner), m.ready()); err != nil {
		return network.Sandbox{}, err
	}
	var sb network.Sandbox
	err := m.retryAfterGrow(ctx, func() (err error) {
		sb, err = m.renew(owner)
		return err
	})
	return sb, err
}

func (m *Manager) renew(owner string) (network.Sandbox, error) {
	defer m.owners.lock(m.pinOf(owner))()
	sb, err := m.connectable(owner)
	var on []string
	for _, e := range sb.Endpoints {
		on = append(on, e.NetworkID)
	}
	defer m.gates.RLock(on)()
	if err != nil || !m.NeedsRenumbering(sb) {
		return sb, err
	}
	after := sb
	after.Endpoints = slices.Clone(sb.Endpoints)
	for i, e := range sb.Endpoints {
		n, _, ok := m.networkOf(e)
		if !ok || !e.NeedsRenumbering(n) {
			continue
		}
		if after.Endpoints[i], err = m.renewed(owner, n, e); err != nil {
			m.giveBackNew(sb, after)
			return sb, err
		}
	}
	after.Endpoints = network.KeepGateways(sb.Endpoints, m.withRoutes(after, after.Endpoints).Endpoints, m.networksOf(after))
	if err := m.store.PutSandbox(after); err != nil {
		m.giveBackNew(sb, after)
		return sb, err
	}
	if err := m.readdress(sb, after, true); err != nil {
		back := errors.Join(m.readdress(after, sb, true), m.store.PutSandbox(sb))
		m.giveBackNew(sb, after)
		return sb, errors.Join(err, back)
	}
	return after, nil
}

// ResumeRenumbering makes sandboxes that are on their way be as they are remembered, after a crash that may have come between.
func (m *Manager) ResumeRenumbering() error {
	var errs []error
	for _, sb := range m.store.Sandboxes() {
		if slices.ContainsFunc(sb.Endpoints, func(e network.Endpoint) bool { return e.Renumbering }) {
			err := m.readdress(sb, sb, true)
			if fault.Is(err, fault.Unavailable) && m.Log != nil { // a parent that is away; who follows tries again until it is back
				m.Log.Warn("a container cannot go on to its new addresses yet", "container", sb.DisplayName(), "error", err)
				err = nil
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// renewed leases what an endpoint lacks on its network. What it has elsewhere it keeps as a former address.
func (m *Manager) renewed(owner string, n network.Network, e network.Endpoint) (network.Endpoint, error) {
	next := e
	next.Former = slices.Clone(e.Former)
	next.Renumbering = true
	for _, pools := range byFamily(n.Pools) {
		has := e.IPv4
		if pools[0].Subnet.Addr().Is6() {
			has = e.IPv6
		}
		if has.IsValid() && slices.ContainsFunc(pools, func(p network.Pool) bool { return p.Subnet.Contains(has.Addr()) }) {
			continue
		}
		if back, ok := next.RestoreAddr(pools); ok { // it was there before, and still is
			next = back
			continue
		}
		p, addr, err := m.allocateSameHost(owner, n, pools, e.Spec.WithCurrentAddrs(n), has.Addr())
		if err != nil {
			return next, err
		}
		next = next.WithNewAddr(netip.PrefixFrom(addr, p.Subnet.Bits()))
	}
	return m.drivers[n.Driver].Complete(n, next.Without(n)), nil
}

// allocateSameHost is allocateFromPools for an endpoint that had an address in another pool: it gets the one at the same place if nobody has that.
func (m *Manager) allocateSameHost(owner string, n network.Network, pools []network.Pool, spec network.EndpointSpec, had netip.Addr) (network.Pool, netip.Addr, error) {
	want := n.CurrentAddr(had)
	for _, p := range pools {
		if askedOf(p, spec).IsValid() || !n.Addresses(p).Automatic(want) || !m.book.Reserve(n.ID, want) {
			continue
		}
		who, err := m.claimed(n, want)
		if err == nil && who == "" {
			return p, want, nil
		}
		m.book.Release(n.ID, want)
		if err != nil {
			return p, want, err
		}
	}
	return m.allocateFromPools(owner, n, pools, spec)
}

// readdress makes the endpoints that differ be as in after, and with ways the default routes.
func (m *Manager) readdress(before, after network.Sandbox, ways bool) error {
	err := kernel.WithPinned(after.NetnsPath, func(ns *kernel.Namespace) error {
		for i, e := range after.Endpoints {
			n, driver, ok := m.networkOf(e)
			if !ok || n.UsesDHCP() || !e.Renumbering && !before.Endpoints[i].Renumbering { // those of a LANDriver are renewed by that
				continue
			}
			if err := driver.Renew(ns, n, e, without(before.Endpoints[i].AllAddresses(), e.AllAddresses())); err != nil {
				return err
			}
		}
		if !ways {
			return nil
		}
		return m.applyRoutes(ns, after)
	})
	return m.asFault(err, after)
}

// CompleteRenumbering takes away what Renew has replaced, and answers that.
func (m *Manager) CompleteRenumbering(_ context.Context, owner string) ([]netip.Addr, error) {
	if err := errors.Join(network.ValidateOwner(owner), m.ready()); err != nil {
		return nil, err
	}
	defer m.owners.lock(m.pinOf(owner))()
	sb, err := m.connectable(owner)
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
	// The kernel comes first: what is remembered as former is taken away again after a crash.
	if err := m.readdress(sb, after, false); err != nil {
		return nil, err
	}
	if err := m.store.PutSandbox(after); err != nil {
		return nil, err
	}
	m.giveBackNew(after, sb)
	return gone, nil
}

// giveBackNew ends the leases of one state of a sandbox that it does not have in another.
func (m *Manager) giveBackNew(keep, drop network.Sandbox) {
	for i, e := range drop.Endpoints {
		for _, p := range without(e.AllAddresses(), keep.Endpoints[i].AllAddresses()) {
			if !m.store.Reservation(drop.Owner).Has(e.NetworkID, p.Addr()) {
				m.book.Release(e.NetworkID, p.Addr())
			}
		}
	}
}

// without are the addresses of some that are not among others, at whatever length.
func without(some, others []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(some), func(p netip.Prefix) bool {
		return slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Addr() == p.Addr() })
	})
}

// WithNetworkLocked lets a network be changed while nothing is plugged into it.
func (m *Manager) WithNetworkLocked(networkID string, change func() error) error {
	defer m.gates.Lock(networkID)()
	return change()
}

// NotifyChanged has whoever watches look at the sandboxes.
func (m *Manager) NotifyChanged() { m.renumberNotifier.Notify() }
