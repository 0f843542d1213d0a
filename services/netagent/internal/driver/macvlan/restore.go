package macvlan

import (
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Restore creates interfaces again that were deleted with their parent. They keep their addresses.
// It also reconciles the host routes to the containers. Unless sweep is nil, it removes stale
// objects. A sweep must not run while a sandbox is created.
func (d *Driver) Restore(n network.Network, sandboxes []network.Sandbox,
	sweep func() ([]kernel.Link, error)) (changes []string, err error) {
	if sweep != nil {
		if changes, err = d.sweep(n, sandboxes); err != nil {
			return changes, fault.Wrap(err, fault.Internal, n.Subject(), "cannot remove stale interfaces")
		}
	}
	restored, err := d.reattach(n, sandboxes)
	return append(changes, restored...), err
}

func (d *Driver) reattach(n network.Network, sandboxes []network.Sandbox) (changes []string, err error) {
	parent, ok, err := d.parent(n)
	if err == nil && !ok {
		parent, ok, err = d.identifyParent(n, sandboxes)
	}

	if err != nil || !ok || !parent.Up {
		return nil, fault.Wrap(err, fault.Internal, n.Subject(), "cannot look up parent interface "+n.Parent().Link)
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

	return changes, fault.Wrap(err, fault.Internal, n.Subject(), "cannot attach containers again")
}

// identifyParent finds a parent that was renamed while the agent did not run, by its
// sub-interfaces.
func (d *Driver) identifyParent(n network.Network, sandboxes []network.Sandbox) (parent kernel.Link, ok bool,
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

// restore reconciles one endpoint and reports whether it created the interface.
func (d *Driver) restore(n network.Network, parent kernel.Link, sb network.Sandbox, e network.Endpoint) (made bool,
	err error) {
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
