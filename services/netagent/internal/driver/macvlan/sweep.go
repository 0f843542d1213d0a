package macvlan

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Sweep implements driver.Driver. If an agent was killed during an attach or detach, there can be
// interfaces in running containers without an endpoint, and host routes to addresses without one. Sweep
// removes both. It does not use the list of the host's links.
func (d *Driver) Sweep(n network.Network, sandboxes []endpoint.Sandbox, _ func() ([]kernel.Link, error)) (
	changes []string, err error) {
	for _, sb := range d.sandboxes() {
		if !kernel.Pinned(sb.NetnsPath) {
			continue
		}
		gone, serr := sweepChildren(n, sb)
		changes, err = append(changes, gone...), errors.Join(err, serr)
	}

	gone, serr := d.sweepHostRoutes(n, sandboxes)
	changes = append(changes, gone...)
	if err = errors.Join(err, serr); err != nil {
		return changes, fault.Wrap(err, fault.Internal, n.Subject(), "cannot remove stale interfaces")
	}

	applied, err := d.applyAll(n, sandboxes)
	return append(changes, applied...), err
}

// applyAll applies the endpoints of all sandboxes, unless the parent is missing or down.
func (d *Driver) applyAll(n network.Network, sandboxes []endpoint.Sandbox) (changes []string, err error) {
	parent, ok, err := d.findParent(n, sandboxes)
	if err != nil || !ok || !parent.Up {
		return nil, err
	}

	for _, sb := range sandboxes {
		e, on := sb.EndpointOn(n.ID)
		if !on || !kernel.Pinned(sb.NetnsPath) {
			continue
		}
		err = errors.Join(err, kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
			done, err := d.Apply(ns, n, sb.Owner, e, nil)
			for _, change := range done {
				changes = append(changes, change+" of "+sb.OwnerName)
			}
			return err
		}))
	}
	return changes, fault.Wrap(err, fault.Internal, n.Subject(), "cannot attach containers again")
}

// sweepChildren deletes the network's interfaces in a container that belong to no endpoint. An
// interface that an attach has not renamed yet has no alias, so its temporary name identifies it.
func sweepChildren(n network.Network, sb endpoint.Sandbox) (changes []string, err error) {
	err = kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
		links, err := ns.SubInterfaces()
		for _, l := range links {
			ofNetwork := endpoint.AliasIsOf(l.Alias, n.ID) || strings.HasPrefix(l.Name, unnamed) && l.Alias == ""
			has := slices.ContainsFunc(sb.Endpoints, func(e endpoint.Endpoint) bool {
				return e.NetworkID == n.ID && e.Interface == l.Name
			})
			if !ofNetwork || has {
				continue
			}
			err = errors.Join(err, ns.DeleteChild(l.Name))
			changes = append(changes, "removed interface "+l.Name+" of "+sb.OwnerName)
		}

		return err
	})
	return changes, err
}

// sweepHostRoutes deletes stale routes and neighbour entries on the network's shim.
func (d *Driver) sweepHostRoutes(n network.Network, sandboxes []endpoint.Sandbox) (changes []string, err error) {
	shim, ok, err := d.host.Link(shimName(n))
	if err != nil || !ok {
		return nil, err
	}

	stale, err := d.host.HostRoutes(shim.Index)
	if err != nil {
		return nil, err
	}

	neighbours, err := d.host.Neighbours(shim.Index)
	for _, e := range neighbours {
		stale = append(stale, e.Addr)
	}

	wanted := map[netip.Addr]bool{}
	for _, sb := range sandboxes {
		for _, e := range sb.Endpoints {
			for _, p := range e.AllAddresses() {
				wanted[p.Addr()] = wanted[p.Addr()] || e.NetworkID == n.ID
			}
		}
	}

	slices.SortFunc(stale, netip.Addr.Compare)
	for _, to := range slices.Compact(stale) {
		if wanted[to] {
			continue
		}
		err = errors.Join(err, d.host.DeleteHostRoute(shim.Index, to), d.host.DeleteNeighbour(shim.Index, to))
		changes = append(changes, "removed route to "+to.String())
	}

	return changes, err
}
