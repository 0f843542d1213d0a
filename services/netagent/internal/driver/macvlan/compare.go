package macvlan

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Compare implements driver.Driver. It looks for interfaces that were deleted with the parent, and
// for missing entries of the shim and of the containers for the host. It finds nothing while the
// parent is missing or down, as interfaces cannot be created then.
func (d *Driver) Compare(n network.Network, sandboxes []endpoint.Sandbox) (map[string][]string, error) {
	parent, ok, err := d.findParent(n, sandboxes)
	if err != nil || !ok || !parent.Up {
		return nil, err
	}

	routes, neighbours, err := d.shimEntries(n)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, n.Subject(), "cannot compare "+shimName(n))
	}

	out := map[string][]string{}
	for _, sb := range sandboxes {
		e, on := sb.EndpointOn(n.ID)
		if !on || !kernel.Pinned(sb.NetnsPath) {
			continue
		}
		differences, cerr := d.compareInside(n, parent, sb.NetnsPath, e)
		entries, eerr := d.hostEntries(n, parent, e)
		for _, w := range entries {
			if neighbours[w.Addr] != w.MAC.String() || !slices.Contains(routes, w.Addr) {
				differences = append(differences, "host route to "+w.Addr.String()+" is missing")
			}
		}
		if err = errors.Join(err, cerr, eerr); len(differences) > 0 {
			out[sb.Owner] = differences
		}
	}
	return out, fault.Wrap(err, fault.Internal, n.Subject(), "cannot compare its containers")
}

// shimEntries returns the host routes through the network's shim, and the MACs of its neighbour
// entries.
func (d *Driver) shimEntries(n network.Network) (routes []netip.Addr, macs map[netip.Addr]string, err error) {
	shim, ok, err := d.host.Link(shimName(n))
	if err != nil || !ok {
		return nil, nil, err
	}
	if routes, err = d.host.HostRoutes(shim.Index); err != nil {
		return nil, nil, err
	}

	all, err := d.host.Neighbours(shim.Index)
	macs = map[netip.Addr]string{}
	for _, have := range all {
		macs[have.Addr] = have.MAC.String()
	}
	return routes, macs, err
}

// compareInside compares the interface of an endpoint in its namespace.
func (d *Driver) compareInside(n network.Network, parent kernel.Link, path string, e endpoint.Endpoint) (
	differences []string, err error) {
	want, err := d.hostNeighbours(n, parent)
	if err != nil {
		return nil, err
	}

	err = kernel.WithPinned(path, func(ns *kernel.Namespace) error {
		_, _, there, err := ns.Child(e.Interface)
		if err != nil {
			return err
		}
		if !there {
			differences = append(differences, "interface "+e.Interface+" is missing")
			return nil
		}
		same, err := ns.HasNeighbours(e.Interface, want)
		if err == nil && !same {
			differences = append(differences, "neighbour entries of "+e.Interface+" for the host")
		}
		return err
	})
	return differences, err
}

// findParent returns the network's parent, also one that was renamed while the agent did not run.
func (d *Driver) findParent(n network.Network, sandboxes []endpoint.Sandbox) (kernel.Link, bool, error) {
	parent, ok, err := d.parent(n)
	if err == nil && !ok {
		parent, ok, err = d.identifyParent(n, sandboxes)
	}
	return parent, ok, fault.Wrap(err, fault.Internal, n.Subject(),
		"cannot look up parent interface "+n.Parent().Link)
}

// identifyParent finds a parent that was renamed while the agent did not run, by its
// sub-interfaces.
func (d *Driver) identifyParent(n network.Network, sandboxes []endpoint.Sandbox) (parent kernel.Link, ok bool,
	err error) {
	for _, sb := range sandboxes {
		for _, e := range sb.Endpoints {
			if ok || e.NetworkID != n.ID || !kernel.Pinned(sb.NetnsPath) {
				continue
			}
			err = errors.Join(err, kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
				index, _, there, err := ns.Child(e.Interface)
				if err != nil || !there {
					return err
				}
				parent, ok, err = d.host.LinkAt(index)
				return err
			}))
		}
	}

	if ok {
		d.recordParent(n, parentState{index: parent.Index})
	}

	return parent, ok, err
}
