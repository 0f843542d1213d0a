package macvlan

import (
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Restore makes the interfaces again that vanished with their parent, with the addresses that they had, and puts the ways between host
// and containers right. Unless sweep is nil it also takes away what no container has. Sweep only while no sandbox is being made.
func (d *Driver) Restore(n network.Network, sandboxes []network.Sandbox, sweep func() ([]kernel.Link, error)) (changes []string, err error) {
	if sweep != nil {
		if changes, err = d.sweep(n, sandboxes); err != nil {
			return changes, fault.Wrap(err, fault.Internal, n.Subject(), "cannot take leftovers away")
		}
	}
	restored, err := d.plugIn(n, sandboxes)
	return append(changes, restored...), err
}

func (d *Driver) plugIn(n network.Network, sandboxes []network.Sandbox) (changes []string, err error) {
	parent, ok, err := d.parent(n)
	if err == nil && !ok {
		parent, ok, err = d.identifyParent(n, sandboxes)
	}
	if err != nil || !ok || !parent.Up {
		return nil, fault.Wrap(err, fault.Internal, n.Subject(), "cannot look for its parent interface "+n.Parent)
	}
	for _, sb := range sandboxes {
		for _, e := range sb.Endpoints {
			if e.NetworkID != n.ID || !kernel.Pinned(sb.NetnsPath) {
				continue
			}
			done, rerr := d.restore(n, parent, sb, e)
			err = errors.Join(err, rerr)
			if done {
				changes = append(changes, "interface "+e.Interface+" of "+sb.OwnerName)
			}
		}
	}
	return changes, fault.Wrap(err, fault.Internal, n.Subject(), "cannot plug its containers in again")
}

// identifyParent finds a parent that was renamed while nobody looked, by the children that are on it.
func (d *Driver) identifyParent(n network.Network, sandboxes []network.Sandbox) (parent kernel.Link, ok bool, err error) {
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

// restore puts one endpoint right, and tells whether its interface had to be made.
func (d *Driver) restore(n network.Network, parent kernel.Link, sb network.Sandbox, e network.Endpoint) (made bool, err error) {
	err = kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
		_, _, there, err := ns.Child(e.Interface)
		if err != nil {
			return err
		}
		if !there {
			made = true
			return d.Attach(ns, n, sb.Owner, e)
		}
		neighbours, err := d.hostNeighbours(n, parent)
		if err != nil {
			return err
		}
		return errors.Join(ns.SetNeighbours(e.Interface, neighbours), d.addHostRoute(n, parent, e))
	})
	return made, err
}
