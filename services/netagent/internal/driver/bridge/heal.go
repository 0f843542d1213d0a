package bridge

import (
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Heal compares an endpoint of a running container with the kernel, repairs it and returns the
// changes. It must be called on the namespace's thread.
func (d *Driver) Heal(ns *kernel.Namespace, n network.Network, owner string, e network.Endpoint) (changes []string,
	err error) {
	bridge, ok, err := d.host.Link(n.Bridge().Device)
	if err != nil || !ok {
		return nil, err // package bringup recreates the bridge first, and attaches its ports
	}

	port, there, err := d.host.Link(e.HostInterface)
	if err != nil {
		return nil, err
	}

	inNamespace, err := ns.HasInterface(e.Interface)
	if err != nil {
		return nil, err
	}

	if !there || !inNamespace {
		if there { // the container end was moved or renamed
			err = d.host.DeleteLink(port.Index)
		}
		if err == nil {
			err = d.Attach(ns, n, owner, e)
		}
		return []string{"interface " + e.Interface}, err
	}

	if port.Master != bridge.Index {
		changes = append(changes, "port "+port.Name+" on "+n.Bridge().Device)
		err = errors.Join(d.host.SetMaster(port.Name, bridge.Index), d.host.PutForwarding(port.Index, e.MAC))
	} else if !port.Up {
		changes = append(changes, "port "+port.Name+" up")
	}

	if len(changes) > 0 {
		err = errors.Join(err, d.host.SetPort(d.portOf(n, owner, e)))
	}

	want := inside(n, e)
	want.Addresses = append(want.Addresses, e.Former...)
	mac := e.MAC
	if e.Renumbering {
		mac = nil // the MAC is being changed
	}

	repaired, rerr := ns.Repair(want, mac)
	changes = append(changes, repaired...)
	return changes, fault.Wrap(errors.Join(err, rerr), fault.Internal, n.Subject(), "cannot repair "+e.Interface)
}
