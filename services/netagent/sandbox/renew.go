package sandbox

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/netagent/kernel"
	"github.com/fairlead/fairlead/services/netagent/network"
)

// A network that is renumbered, or gets IPv6, only says where its sandboxes are to go. Each gets there in two steps, between which it has
// its old addresses as well as the new ones, so that whoever leads names and ports can follow: Renew and Settle. What a step is about
// to do is stored first; after a crash the same step is made again.

// Watch answers a channel that has something in it at first, and whenever sandboxes may have fallen behind, until stop is called.
func (m *Manager) Watch() (changed <-chan struct{}, stop func()) { return m.behind.listen() }

// Behind tells whether a sandbox is to have other addresses than it has, or has not settled with those that it got.
func (m *Manager) Behind(sb network.Sandbox) bool {
	return slices.ContainsFunc(sb.Endpoints, func(e network.Endpoint) bool {
		n, _, ok := m.networkOf(e)
		return ok && e.Behind(n)
	})
}

// Renew gives a sandbox the addresses that it is to have. Asked again it answers the same.
func (m *Manager) Renew(ctx context.Context, owner string) (network.Sandbox, error) {
	if err := errors.Join(network.ValidateOwner(owner), m.ready()); err != nil {
		return network.Sandbox{}, err
	}
	var sb network.Sandbox
	err := m.growing(ctx, func() (err error) {
		sb, err = m.renew(owner)
		return err
	})
	return sb, err
}

func (m *Manager) renew(owner string) (network.Sandbox, error) {
	defer m.owners.lock(m.pinOf(owner))()
	sb, err := m.pluggable(owner)
	var on []string
	for _, e := range sb.Endpoints {
		on = append(on, e.NetworkID)
	}
	defer m.gates.pass(on)()
	if err != nil || !m.Behind(sb) {
		return sb, err
	}
	after := sb
	after.Endpoints = slices.Clone(sb.Endpoints)
	for i, e := range sb.Endpoints {
		n, _, ok := m.networkOf(e)
		if !ok || !e.Behind(n) {
			continue
		}
		if after.Endpoints[i], err = m.renewed(owner, n, e); err != nil {
			m.giveBackNew(sb, after)
			return sb, err
		}
	}
	after.Endpoints = network.KeepGateways(sb.Endpoints, m.routed(after, after.Endpoints).Endpoints, m.networksOf(after))
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

// Regain makes sandboxes that are on their way be as they are remembered, after a crash that may have come between.
func (m *Manager) Regain() error {
	var errs []error
	for _, sb := range m.store.Sandboxes() {
		if slices.ContainsFunc(sb.Endpoints, func(e network.Endpoint) bool { return e.Renewing }) {
			err := m.readdress(sb, sb, true)
			if fault.Is(err, fault.Unavailable) && m.Log != nil { // a parent that is away; who follows tries again until it is back
				m.Log.Warn("a container cannot go on to its new addresses yet", "container", sb.Called(), "error", err)
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
	next.Renewing = true
	for _, pools := range byFamily(n.Pools) {
		has := e.IPv4
		if pools[0].Subnet.Addr().Is6() {
			has = e.IPv6
		}
		if has.IsValid() && slices.ContainsFunc(pools, func(p network.Pool) bool { return p.Subnet.Contains(has.Addr()) }) {
			continue
		}
		if back, ok := next.Back(pools); ok { // it was there before, and still is
			next = back
			continue
		}
		p, addr, err := m.takeAgain(owner, n, pools, e.Spec.Today(n), has.Addr())
		if err != nil {
			return next, err
		}
		next = next.With(netip.PrefixFrom(addr, p.Subnet.Bits()))
	}
	return m.drivers[n.Driver].Complete(n, next.Without(n)), nil
}

// takeAgain is takeFrom for an endpoint that had an address in another pool: it gets the one at the same place if nobody has that.
func (m *Manager) takeAgain(owner string, n network.Network, pools []network.Pool, spec network.EndpointSpec, had netip.Addr) (network.Pool, netip.Addr, error) {
	want := n.Today(had)
	for _, p := range pools {
		if askedOf(p, spec).IsValid() || !n.Addresses(p).Automatic(want) || !m.book.Hold(n.ID, want) {
			continue
		}
		who, err := m.claimed(n, want)
		if err == nil && who == "" {
			return p, want, nil
		}
		m.book.Return(n.ID, want)
		if err != nil {
			return p, want, err
		}
	}
	return m.takeFrom(owner, n, pools, spec)
}

// readdress makes the endpoints that differ be as in after, and with ways the default routes.
func (m *Manager) readdress(before, after network.Sandbox, ways bool) error {
	err := kernel.InPinned(after.NetnsPath, func(ns *kernel.Namespace) error {
		for i, e := range after.Endpoints {
			n, driver, ok := m.networkOf(e)
			if !ok || n.Leased() || !e.Renewing && !before.Endpoints[i].Renewing { // those of a LAN are renewed by that
				continue
			}
			if err := driver.Renew(ns, n, e, without(before.Endpoints[i].All(), e.All())); err != nil {
				return err
			}
		}
		if !ways {
			return nil
		}
		return m.lay(ns, after)
	})
	return m.asFault(err, after)
}

// Settle takes away what Renew has replaced, and answers that.
func (m *Manager) Settle(_ context.Context, owner string) ([]netip.Addr, error) {
	if err := errors.Join(network.ValidateOwner(owner), m.ready()); err != nil {
		return nil, err
	}
	defer m.owners.lock(m.pinOf(owner))()
	sb, err := m.pluggable(owner)
	if err != nil {
		return nil, err
	}
	after, gone := sb, []netip.Addr(nil)
	after.Endpoints = slices.Clone(sb.Endpoints)
	for i, e := range sb.Endpoints {
		for _, p := range e.Former {
			gone = append(gone, p.Addr())
		}
		after.Endpoints[i].Former, after.Endpoints[i].Renewing = nil, false
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
		for _, p := range without(e.All(), keep.Endpoints[i].All()) {
			if !m.store.Reservation(drop.Owner).Has(e.NetworkID, p.Addr()) {
				m.book.Return(e.NetworkID, p.Addr())
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

// Change lets a network be changed while nothing is plugged into it.
func (m *Manager) Change(networkID string, change func() error) error {
	defer m.gates.close(networkID)()
	return change()
}

// Changed has whoever watches look at the sandboxes.
func (m *Manager) Changed() { m.behind.ring() }
