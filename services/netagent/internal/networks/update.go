package networks

import (
	"context"
	"errors"
	"github.com/fairlead/fairlead/proto/egress"
	"net/netip"
	"reflect"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Addresses holds the reservations of networks.
type Addresses interface {
	// Move stores a renumbered network together with its translated reservations. rollback restores
	// the former state.
	Move(store.Network) (rollback func() error, err error)
	// SetLimits sets the limits of new endpoints on networks without limits.
	SetLimits(egress.Defaults)
}

// Update changes a network that can be in use. It rolls back on failure.
func (m *Manager) Update(ctx context.Context, ref string, edit network.Update) (network.Network, error) {
	if n, err := m.store.FindNetwork(ref); err == nil && n.IsGlobal() {
		return m.fleet.Update(ctx, n.Network, edit, Follow(m))
	}

	defer m.locks.Edit()()
	have, err := m.store.FindNetwork(ref)
	if err != nil {
		return network.Network{}, err
	}
	if err := m.complete(have.Network, &edit); err != nil {
		return have.Network, err
	}
	return m.edit(ctx, have, edit)
}

// edit applies a complete update. the edit lock must be held.
func (m *Manager) edit(ctx context.Context, have store.Network, edit network.Update) (network.Network, error) {
	next, err := edit.Apply(have.Network)
	if err != nil || reflect.DeepEqual(next, have.Network) {
		return next, err
	}

	for _, p := range next.Spec.Pools {
		rest := m.ownSubnets()
		for _, old := range have.AllPools() {
			delete(rest, old.Subnet)
		}
		if err := checkOverlap(next, p.Subnet, rest); err != nil {
			return have.Network, err
		}
	}

	if err := m.storeAndApply(ctx, have, next); err != nil {
		return have.Network, err
	}

	m.emit(next, "update")
	return next, nil
}

// complete allocates the subnets that an update needs but does not give.
func (m *Manager) complete(n network.Network, edit *network.Update) error {
	if n.IsPredefined() || n.IsConfigOnly() || n.UsesDHCP() {
		return nil // Update.Apply rejects it
	}

	var wanted []network.PoolSpec
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	if edit.IPv6 && !n.HasIPv6() && !slices.ContainsFunc(edit.Subnets, is6) {
		wanted = append(wanted, network.PoolSpec{Subnet: netip.PrefixFrom(netip.IPv6Unspecified(), 0)})
	}

	if edit.Renumber && len(edit.Subnets) == 0 {
		overlapped, err := m.overlappedPools(n)
		if err != nil {
			return err
		}
		if len(overlapped) == 0 {
			return fault.New(fault.Invalid, n.Subject(), "no host route overlaps it, renumbering is not needed",
				fault.WithField("renumber"),
				fault.WithHint("give a new subnet with --subnet"))
		}
		wanted = append(wanted, overlapped...)
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
		subnet, limit, err := m.choose(n, w, slices.Concat(taken(m.ownSubnets()), foreign, edit.Subnets))
		if err != nil {
			return err
		}
		edit.Subnets = append(edit.Subnets, subnet)
		edit.GrowLimits[subnet] = limit
	}

	return nil
}

// overlappedPools returns a request for a new subnet for each pool that a host route overlaps. The
// lengths stay the same.
func (m *Manager) overlappedPools(n network.Network) ([]network.PoolSpec, error) {
	routes, err := m.foreignRoutes()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "host routes", "cannot be read")
	}

	var out []network.PoolSpec
	for _, p := range n.Spec.Pools {
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

// storeAndApply stores a changed network and applies it to natagent, host and endpoints. It rolls
// back on failure.
func (m *Manager) storeAndApply(ctx context.Context, have store.Network, n network.Network) error {
	n.Status = n.Status.Changed()
	changed := have
	changed.Network = n
	var rollback func() error
	err := m.whileStored(n.ID, func() (err error) {
		rollback, err = m.addresses.Move(changed)
		return err
	})

	if err != nil {
		return err
	}

	err = m.apply(ctx, n)
	if err == nil {
		return nil
	}

	err = errors.Join(err, m.whileStored(n.ID, rollback))
	if back, ok := m.store.Network(n.ID); ok {
		err = errors.Join(err, m.apply(context.WithoutCancel(ctx), back.Network))
	}

	return err
}

// whileStored calls store while no endpoint is attached to the network.
func (m *Manager) whileStored(networkID string, store func() error) error {
	defer m.locks.WriteNetwork(networkID)()
	return store()
}

// apply applies a stored network to natagent, host and endpoints.
func (m *Manager) apply(ctx context.Context, n network.Network) error {
	if err := m.activate(ctx, n); err != nil {
		return err
	}
	return m.updateEndpoints(n)
}

// updateEndpoints applies a network change to its endpoints and records completion.
func (m *Manager) updateEndpoints(n network.Network) error {
	if err := m.endpoints.UpdateEndpoints(n); err != nil {
		return err
	}

	_, _, err := m.store.ChangeNetwork(n.ID, func(stored store.Network, _ []endpoint.Sandbox) store.Network {
		stored.Status.Followed = max(stored.Status.Followed, n.Status.Generation)
		return stored
	})

	return err
}

// Resume updates the endpoints of networks whose update was interrupted by a crash.
func (m *Manager) Resume() error {
	var errs []error
	for _, n := range m.store.Networks() {
		if n.Status.EndpointsOutdated() && !n.Status.Deleting {
			errs = append(errs, m.updateEndpoints(n.Network))
		}
	}
	return errors.Join(errs...)
}

// ReapplyPredefined applies predefined networks that the configuration has changed to natagent and
// host.
func (m *Manager) ReapplyPredefined(ctx context.Context) error {
	var errs []error
	for _, n := range m.store.Networks() {
		if n.Status.EndpointsOutdated() && n.IsPredefined() && !n.Status.Deleting {
			errs = append(errs, m.activate(ctx, n.Network))
		}
	}
	return errors.Join(errs...)
}

// RemoveFormerPools removes the former pools in which no container has an address.
func (m *Manager) RemoveFormerPools(ctx context.Context) error {
	defer m.locks.Edit()()
	var errs []error
	for _, n := range m.store.Networks() {
		errs = append(errs, m.removeFormerPools(ctx, n.ID))
	}
	return errors.Join(errs...)
}

// removeFormerPools is RemoveFormerPools for one network. The edit lock must be held.
func (m *Manager) removeFormerPools(ctx context.Context, networkID string) error {
	n, ok := m.store.Network(networkID)
	if !ok || len(n.Status.Former) == 0 || n.Status.Deleting {
		return nil
	}

	if n.Status.AdoptedBridge { // addresses of an adopted bridge are not reconciled
		used := endpoint.DropUnusedFormer(n.Network, m.store.SandboxesOn(n.ID)).HostAddresses()
		if err := m.bringup.RemoveAddresses(n.Network, difference(n.HostAddresses(), used)); err != nil {
			return err
		}
	}

	next, changed, err := m.store.ChangeNetwork(n.ID, func(n store.Network, on []endpoint.Sandbox) store.Network {
		n.Network = endpoint.DropUnusedFormer(n.Network, on)
		return n
	})
	if changed {
		err = errors.Join(err, m.activate(ctx, next.Network))
	}
	return err
}

// difference returns the prefixes in a that are not in b.
func difference(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(p netip.Prefix) bool { return slices.Contains(b, p) })
}
