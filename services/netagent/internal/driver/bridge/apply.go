package bridge

import (
	"errors"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Apply implements driver.Driver. A missing veth pair is created again. Otherwise the host end is
// attached to the bridge, then the interface in the namespace is repaired. It must be called on the
// namespace's thread.
func (d *Driver) Apply(
	ns *kernel.Namespace, n network.Network, owner string, e endpoint.Endpoint, gone []netip.Prefix,
) (changes []string, err error) {
	bridge, ok, err := d.host.Link(n.Bridge().Device)
	if err != nil || !ok {
		return nil, fault.New(fault.Unavailable, n.Subject(), "bridge "+n.Bridge().Device+" does not exist",
			fault.WithCause(err))
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

	changes, err = d.applyPort(n, bridge, port, owner, e)
	repaired, rerr := d.applyInterface(ns, n, bridge, e, gone)
	changes, err = append(changes, repaired...), errors.Join(err, rerr)
	if err == nil {
		err = d.putNeighbours(bridge.Index, e)
	}
	if e.IsLimited() {
		shaped, serr := d.shape(ns, e)
		changes, err = append(changes, shaped...), errors.Join(err, serr)
	}
	for _, p := range gone {
		err = errors.Join(err, d.host.DeleteNeighbour(bridge.Index, p.Addr()))
	}
	return changes, fault.Wrap(err, fault.Internal, n.Subject(), "cannot apply "+e.Interface)
}

// shape limits both ends of an endpoint: the container receives what the host end sends. The container
// end is limited in the namespace, where only a container with CAP_NET_ADMIN can lift it.
func (d *Driver) shape(ns *kernel.Namespace, e endpoint.Endpoint) (changes []string, err error) {
	limit := e.Bandwidth()
	in, err := d.host.Shape(e.HostInterface, limit.In)
	if err != nil {
		return nil, err
	}
	out, err := ns.Shape(e.Interface, limit.Out)
	if in || out {
		changes = append(changes, "bandwidth of "+e.Interface)
	}
	return changes, err
}

// applyPort attaches the host end of an endpoint to the bridge, with its FDB entry and MTU.
func (d *Driver) applyPort(
	n network.Network, bridge, port kernel.Link, owner string, e endpoint.Endpoint,
) (changes []string, err error) {
	if port.Master != bridge.Index {
		changes = append(changes, "port "+port.Name+" on "+bridge.Name)
		err = d.host.SetMaster(port.Name, bridge.Index)
	} else if !port.Up {
		changes = append(changes, "port "+port.Name+" up")
	}

	if err = errors.Join(err, d.host.PutForwarding(port.Index, e.MAC)); len(changes) > 0 {
		err = errors.Join(err, d.host.SetPort(d.portOf(n, owner, e)))
	}

	if mtu := n.FollowedMTU(); mtu != 0 {
		err = errors.Join(err, d.host.SetMTU(port.Name, mtu))
	}

	return changes, err
}

// applyInterface repairs the container end of an endpoint. The port guard allows a new address or
// MAC before the interface has it, and the former ones until then.
func (d *Driver) applyInterface(
	ns *kernel.Namespace, n network.Network, bridge kernel.Link, e endpoint.Endpoint, gone []netip.Prefix,
) (changes []string, err error) {
	finish, changed := func() error { return d.guardPort(e) }, false
	want := kernel.Desired{Interface: inside(n, e), MAC: e.MAC, MTU: n.FollowedMTU(), Gone: gone,
		Prepare: func() (err error) {
			finish, err = d.regard(e)
			changed = err == nil
			return err
		},
		Moved: func() error { return d.putNeighbours(bridge.Index, e) }}
	want.Addresses = append(want.Addresses, e.Former...)

	if changes, err = ns.Repair(want); err != nil {
		return changes, err
	}

	if changed {
		d.announcer.Stop(e.ID)
		d.announcer.Announce(ns, n, e)
	}
	return changes, finish()
}
