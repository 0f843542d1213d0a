package networks

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Sandboxes are the containers on networks, which follow changes of them.
type Sandboxes interface {
	// WithNetworkLocked lets a network be changed while nothing is plugged into it.
	WithNetworkLocked(networkID string, change func() error) error
	// MoveReservations stores a network that is at another place together with what is reserved on it.
	MoveReservations(store.Network) (back func() error, err error)
	// UpdateEndpoints has the containers on a network follow a change of it at once, all but new addresses.
	UpdateEndpoints(network.Network) error
	// NotifyChanged has containers asked whether they are to get new addresses.
	NotifyChanged()
	// ReleaseNetworkLeases gives back what the LAN of a network holds for those who are not on it.
	ReleaseNetworkLeases(networkID string) error
	// NeedsRenumbering tells whether one has not got there yet.
	NeedsRenumbering(network.Sandbox) bool
}

// Update changes a network while containers are on it. If it fails, all is as before.
func (m *Manager) Update(ctx context.Context, ref string, edit network.Update) (network.Network, error) {
	m.choosing.Lock()
	defer m.choosing.Unlock()
	have, err := m.Store.FindNetwork(ref)
	if err != nil {
		return network.Network{}, err
	}
	if err := m.complete(have.Network, &edit); err != nil {
		return have.Network, err
	}
	return m.edit(ctx, have, edit)
}

// edit is Edit for who has the lock and the network.
func (m *Manager) edit(ctx context.Context, have store.Network, edit network.Update) (network.Network, error) {
	next, err := edit.Apply(have.Network)
	if err != nil || reflect.DeepEqual(next, have.Network) {
		return next, err
	}
	for _, p := range next.Pools {
		others := m.ownSubnets()
		for _, old := range have.AllPools() {
			delete(others, old.Subnet)
		}
		if err := clash(next, p.Subnet, others); err != nil {
			return have.Network, err
		}
	}
	if err := m.storeAndApply(ctx, have, next); err != nil {
		return have.Network, err
	}
	m.emit(next, "update")
	m.Sandboxes.NotifyChanged()
	return next, nil
}

// complete adds those subnets to an edit that it leaves to be chosen.
func (m *Manager) complete(n network.Network, edit *network.Update) error {
	if n.Predefined || n.ConfigOnly || n.UsesDHCP() {
		return nil // which is refused
	}
	var wanted []network.PoolSpec
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	if edit.IPv6 && !n.HasIPv6() && !slices.ContainsFunc(edit.Subnets, is6) {
		wanted = append(wanted, network.PoolSpec{Subnet: netip.PrefixFrom(netip.IPv6Unspecified(), 0)})
	}
	if edit.Renumber && len(edit.Subnets) == 0 {
		crossed, err := m.overlappedPools(n)
		if err != nil {
			return err
		}
		if len(crossed) == 0 {
			return fault.New(fault.Invalid, n.Subject(), "no route of the host overlaps it, so that it can stay where it is", fault.WithField("renumber"),
				fault.WithHint("to move it all the same, say where to with --subnet"))
		}
		wanted = append(wanted, crossed...)
	}
	if len(wanted) == 0 {
		return nil
	}
	foreign, err := m.hostSubnets()
	if err != nil {
		return err
	}
	edit.Subnets, edit.GrowLimits = slices.Clone(edit.Subnets), map[netip.Prefix]netip.Prefix{}
	for _, w := range wanted {
		subnet, room, err := m.choose(n, w, slices.Concat(taken(m.ownSubnets()), foreign, edit.Subnets))
		if err != nil {
			return err
		}
		edit.Subnets = append(edit.Subnets, subnet)
		edit.GrowLimits[subnet] = room
	}
	return nil
}

// overlappedPools are the pools that a route of the host overlaps, each as one of the same length to be chosen elsewhere.
func (m *Manager) overlappedPools(n network.Network) ([]network.PoolSpec, error) {
	routes, err := m.foreignRoutes()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the host's routes", "cannot be read")
	}
	var out []network.PoolSpec
	for _, p := range n.Pools {
		if len(overlaps(n, p, routes)) > 0 {
			unspecified := netip.IPv4Unspecified()
			if p.Subnet.Addr().Is6() {
				unspecified = netip.IPv6Unspecified()
			}
			out = append(out, network.PoolSpec{Subnet: netip.PrefixFrom(unspecified, p.Subnet.Bits())})
		}
	}
	return out, nil
}

// storeAndApply stores a network as it is to be and has the guards, the host and the containers on it follow, or all be as before.
func (m *Manager) storeAndApply(ctx context.Context, have store.Network, n network.Network) error {
	changed := have
	changed.Network, changed.EndpointsOutdated = n, true
	var back func() error
	err := m.Sandboxes.WithNetworkLocked(n.ID, func() (err error) {
		back, err = m.Sandboxes.MoveReservations(changed)
		return err
	})
	if err != nil {
		return err
	}
	err = m.apply(ctx, n)
	if err == nil {
		return nil
	}
	return errors.Join(err, m.Sandboxes.WithNetworkLocked(n.ID, back), m.apply(context.WithoutCancel(ctx), have.Network))
}

// apply has the guards, the host and the containers on it follow what is stored of a network.
func (m *Manager) apply(ctx context.Context, n network.Network) error {
	if err := m.activate(ctx, n); err != nil {
		return err
	}
	return m.updateEndpoints(n)
}

// updateEndpoints has the containers on a network follow, and notes that they have.
func (m *Manager) updateEndpoints(n network.Network) error {
	if n.Predefined {
		n.MTU = 0 // which is for new endpoints
	}
	if err := m.Sandboxes.UpdateEndpoints(n); err != nil {
		return err
	}
	_, _, err := m.Store.ChangeNetwork(n.ID, func(n store.Network, _ []network.Sandbox) store.Network {
		n.EndpointsOutdated = false
		return n
	})
	return err
}

// Resume has containers follow changes of their networks that a crash came between.
func (m *Manager) Resume() error {
	var errs []error
	for _, n := range m.Store.Networks() {
		if n.EndpointsOutdated && !n.Deleting {
			errs = append(errs, m.updateEndpoints(n.Network))
		}
	}
	return errors.Join(errs...)
}

// ReapplyPredefined has guards and host follow changes of predefined networks that the configuration has made.
func (m *Manager) ReapplyPredefined(ctx context.Context) error {
	var errs []error
	for _, n := range m.Store.Networks() {
		if n.EndpointsOutdated && n.Predefined && !n.Deleting {
			errs = append(errs, m.activate(ctx, n.Network))
		}
	}
	return errors.Join(errs...)
}

// RemoveFormerPools takes former subnets off networks when no container has an address there any more.
func (m *Manager) RemoveFormerPools(ctx context.Context) error {
	m.choosing.Lock()
	defer m.choosing.Unlock()
	var errs []error
	for _, n := range m.Store.Networks() {
		if len(n.Former) == 0 || n.Deleting {
			continue
		}
		if n.AdoptedBridge { // whose other addresses nobody looks after
			if err := m.Ground.RemoveAddresses(n.Network, difference(n.HostAddresses(), n.WithoutUnusedFormer(m.Store.SandboxesOn(n.ID)).HostAddresses())); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		next, changed, err := m.Store.ChangeNetwork(n.ID, func(n store.Network, on []network.Sandbox) store.Network {
			n.Network = n.WithoutUnusedFormer(on)
			return n
		})
		if changed {
			err = errors.Join(err, m.activate(ctx, next.Network))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// difference are the prefixes of some that are not among others.
func difference(some, others []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(some), func(p netip.Prefix) bool { return slices.Contains(others, p) })
}
