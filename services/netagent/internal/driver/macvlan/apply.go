package macvlan

import (
	"errors"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Apply implements driver.Driver. An interface that was deleted with its parent is created again
// when the parent is back, with the same addresses.
func (d *Driver) Apply(
	ns *kernel.Namespace, n network.Network, owner string, e endpoint.Endpoint, gone []netip.Prefix,
) (changes []string, err error) {
	parent, ok, err := d.parent(n)
	switch {
	case err != nil || !ok:
		return nil, fault.New(fault.Unavailable, n.Subject(), "parent interface "+n.Parent().Link+" does not exist",
			fault.WithCause(err))
	case n.FollowedMTU() > parent.MTU:
		return nil, tooLong(n, parent)
	}

	_, _, there, err := ns.Child(e.Interface)
	if err != nil {
		return nil, err
	}
	if !there {
		return []string{"interface " + e.Interface}, d.Attach(ns, n, owner, e)
	}

	changes, err = d.applyInterface(ns, n, parent, e, gone)
	past := e
	past.IPv4, past.IPv6, past.Former = netip.Prefix{}, netip.Prefix{}, gone
	return changes, fault.Wrap(errors.Join(err, d.removeHostRoute(n, past)), fault.Internal, n.Subject(),
		"cannot apply "+e.Interface)
}

// applyInterface repairs an interface that exists, and its entries on the shim.
func (d *Driver) applyInterface(
	ns *kernel.Namespace, n network.Network, parent kernel.Link, e endpoint.Endpoint, gone []netip.Prefix,
) (changes []string, err error) {
	changed := false
	want := kernel.Desired{Interface: driver.ContainerInterface(e), MAC: e.MAC, MTU: n.FollowedMTU(), Gone: gone,
		Prepare: func() error { changed = true; return nil },
		Moved:   func() error { return d.addHostRoute(n, parent, e) }}
	want.Addresses = append(want.Addresses, e.Former...)
	if sharesMAC(n) {
		want.MAC = nil
	}
	if want.Neighbours, err = d.hostNeighbours(n, parent); err != nil {
		return nil, err
	}

	if changes, err = ns.Repair(want); err == nil && e.LeaseUnapplied {
		err = fit(ns, n, e)
	}
	if err != nil {
		return changes, err
	}

	if changed {
		d.announcer.Stop(e.ID)
		d.announcer.Announce(ns, n, e)
	}

	// Neighbour entries of former addresses of the host must go.
	return changes, errors.Join(ns.SetNeighbours(e.Interface, want.Neighbours), d.addHostRoute(n, parent, e))
}
