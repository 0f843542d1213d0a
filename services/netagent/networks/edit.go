package networks

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/netagent/network"
	"github.com/fairlead/fairlead/services/netagent/store"
)

// Sandboxes are the containers on networks, which follow changes of them.
type Sandboxes interface {
	// Change lets a network be changed while nothing is plugged into it.
	Change(networkID string, change func() error) error
	// Relocate stores a network that is at another place together with what is reserved on it.
	Relocate(store.Network) (back func() error, err error)
	// Refit has the containers on a network follow a change of it at once, all but new addresses.
	Refit(network.Network) error
	// Changed has containers asked whether they are to get new addresses.
	Changed()
	// LeaveNetwork gives back what the LAN of a network holds for those who are not on it.
	LeaveNetwork(networkID string) error
	// Behind tells whether one has not got there yet.
	Behind(network.Sandbox) bool
}

// Edit changes a network while containers are on it. If it fails, all is as before.
func (m *Manager) Edit(ctx context.Context, ref string, edit network.Edit) (network.Network, error) {
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
func (m *Manager) edit(ctx context.Context, have store.Network, edit network.Edit) (network.Network, error) {
	next, err := edit.Apply(have.Network)
	if err != nil || reflect.DeepEqual(next, have.Network) {
		return next, err
	}
	for _, p := range next.Pools {
		others := m.ours()
		for _, old := range have.AllPools() {
			delete(others, old.Subnet)
		}
		if err := clash(next, p.Subnet, others); err != nil {
			return have.Network, err
		}
	}
	if err := m.make(ctx, have, next); err != nil {
		return have.Network, err
	}
	m.tell(next, "update")
	m.Sandboxes.Changed()
	return next, nil
}

// complete adds those subnets to an edit that it leaves to be chosen.
func (m *Manager) complete(n network.Network, edit *network.Edit) error {
	if n.Predefined || n.ConfigOnly || n.Leased() {
		return nil // which is refused
	}
	var wanted []network.WantedPool
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	if edit.IPv6 && !n.HasIPv6() && !slices.ContainsFunc(edit.Subnets, is6) {
		wanted = append(wanted, network.WantedPool{Subnet: netip.PrefixFrom(netip.IPv6Unspecified(), 0)})
	}
	if edit.Renumber && len(edit.Subnets) == 0 {
		crossed, err := m.crossed(n)
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
	foreign, err := m.foreign()
	if err != nil {
		return err
	}
	edit.Subnets, edit.Rooms = slices.Clone(edit.Subnets), map[netip.Prefix]netip.Prefix{}
	for _, w := range wanted {
		subnet, room, err := m.choose(n, w, slices.Concat(taken(m.ours()), foreign, edit.Subnets))
		if err != nil {
			return err
		}
		edit.Subnets = append(edit.Subnets, subnet)
		edit.Rooms[subnet] = room
	}
	return nil
}

// crossed are the pools that a route of the host overlaps, each as one of the same length to be chosen elsewhere.
func (m *Manager) crossed(n network.Network) ([]network.WantedPool, error) {
	routes, err := m.foreignRoutes()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the host's routes", "cannot be read")
	}
	var out []network.WantedPool
	for _, p := range n.Pools {
		if len(overlaps(n, p, routes)) > 0 {
			unspecified := netip.IPv4Unspecified()
			if p.Subnet.Addr().Is6() {
				unspecified = netip.IPv6Unspecified()
			}
			out = append(out, network.WantedPool{Subnet: netip.PrefixFrom(unspecified, p.Subnet.Bits())})
		}
	}
	return out, nil
}

// make stores a network as it is to be and has the guards, the host and the containers on it follow, or all be as before.
func (m *Manager) make(ctx context.Context, have store.Network, n network.Network) error {
	changed := have
	changed.Network, changed.Refit = n, true
	var back func() error
	err := m.Sandboxes.Change(n.ID, func() (err error) {
		back, err = m.Sandboxes.Relocate(changed)
		return err
	})
	if err != nil {
		return err
	}
	err = m.settle(ctx, n)
	if err == nil {
		return nil
	}
	return errors.Join(err, m.Sandboxes.Change(n.ID, back), m.settle(context.WithoutCancel(ctx), have.Network))
}

// settle has the guards, the host and the containers on it follow what is stored of a network.
func (m *Manager) settle(ctx context.Context, n network.Network) error {
	if err := m.open(ctx, n); err != nil {
		return err
	}
	return m.refit(n)
}

// refit has the containers on a network follow, and notes that they have.
func (m *Manager) refit(n network.Network) error {
	if n.Predefined {
		n.MTU = 0 // which is for new endpoints
	}
	if err := m.Sandboxes.Refit(n); err != nil {
		return err
	}
	_, _, err := m.Store.ChangeNetwork(n.ID, func(n store.Network, _ []network.Sandbox) store.Network {
		n.Refit = false
		return n
	})
	return err
}

// Resume has containers follow changes of their networks that a crash came between.
func (m *Manager) Resume() error {
	var errs []error
	for _, n := range m.Store.Networks() {
		if n.Refit && !n.Deleting {
			errs = append(errs, m.refit(n.Network))
		}
	}
	return errors.Join(errs...)
}

// Reopen has guards and host follow changes of predefined networks that the configuration has made.
func (m *Manager) Reopen(ctx context.Context) error {
	var errs []error
	for _, n := range m.Store.Networks() {
		if n.Refit && n.Predefined && !n.Deleting {
			errs = append(errs, m.open(ctx, n.Network))
		}
	}
	return errors.Join(errs...)
}

// Tidy takes former subnets off networks when no container has an address there any more.
func (m *Manager) Tidy(ctx context.Context) error {
	m.choosing.Lock()
	defer m.choosing.Unlock()
	var errs []error
	for _, n := range m.Store.Networks() {
		if len(n.Former) == 0 || n.Deleting {
			continue
		}
		if n.ForeignBridge { // whose other addresses nobody looks after
			if err := m.Ground.Bare(n.Network, left(n.HostAddresses(), n.Emptied(m.Store.SandboxesOn(n.ID)).HostAddresses())); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		next, changed, err := m.Store.ChangeNetwork(n.ID, func(n store.Network, on []network.Sandbox) store.Network {
			n.Network = n.Emptied(on)
			return n
		})
		if changed {
			err = errors.Join(err, m.open(ctx, next.Network))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// left are the prefixes of some that are not among others.
func left(some, others []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(some), func(p netip.Prefix) bool { return slices.Contains(others, p) })
}
