package child

import (
	"errors"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/netagent/kernel"
	"github.com/fairlead/fairlead/services/netagent/network"
)

// Restore makes the interfaces again that vanished with their parent, with the addresses that they had, and puts the ways between host
// and containers right.
func (d *Driver) Restore(n network.Network, sandboxes []network.Sandbox, _ bool) (changes []string, err error) {
	parent, ok, err := d.parent(n)
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

// restore puts one endpoint right, and tells whether its interface had to be made.
func (d *Driver) restore(n network.Network, parent kernel.Link, sb network.Sandbox, e network.Endpoint) (made bool, err error) {
	err = kernel.InPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
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
		return errors.Join(ns.SetNeighbours(e.Interface, neighbours), d.lead(n, parent, e))
	})
	return made, err
}
