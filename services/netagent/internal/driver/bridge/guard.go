package bridge

import (
	"errors"
	"net"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
)

// guarded is an endpoint as the port guard must know it.
func guarded(e network.Endpoint, former ...net.HardwareAddr) portguard.Port {
	p := portguard.Port{Name: e.HostInterface, Bridge: e.Bridge, MACs: append([]net.HardwareAddr{e.MAC}, former...), Allowed: e.Spec.Allowed}
	for _, a := range slices.Concat(e.AllAddresses(), e.LinkLocals()) {
		p.Addresses = append(p.Addresses, a.Addr())
	}
	return p
}

// guardedBridge is a network's bridge as the port guard must know it. On a bridge that others use too, addresses are not ours alone.
func guardedBridge(n network.Network) portguard.Bridge {
	b := portguard.Bridge{Name: n.Bridge, Internal: n.Internal}
	if n.AdoptedBridge && n.Bridge != network.DefaultBridgeName {
		return b
	}
	for _, p := range n.AllPools() {
		b.Subnets = append(b.Subnets, p.Subnet)
	}
	return b
}

// Guard loads the port guard with all networks and sandboxes, so that it is complete before anything else changes it.
func (d *Driver) Guard(networks []network.Network, sandboxes []network.Sandbox) (changed bool, err error) {
	if d.ports == nil {
		return false, nil
	}
	var bridges []portguard.Bridge
	known := map[string]bool{}
	for _, n := range networks {
		if n.Bridge != "" {
			bridges, known[n.ID] = append(bridges, guardedBridge(n)), true
		}
	}
	var ports []portguard.Port
	for _, sb := range sandboxes {
		for _, e := range sb.Endpoints {
			if known[e.NetworkID] {
				ports = append(ports, guarded(e))
			}
		}
	}
	return d.ports.Load(bridges, ports)
}

// guardPort puts an endpoint under guard, in force before its port comes up. former are MACs that it is about to give up.
func (d *Driver) guardPort(e network.Endpoint, former ...net.HardwareAddr) error {
	if d.ports == nil {
		return nil
	}
	return d.ports.PutPort(guarded(e, former...))
}

// openPort locks a port, tells the bridge its MAC and brings it up, once the port guard knows it.
func (d *Driver) openPort(p kernel.Port, e network.Endpoint, guard <-chan error) error {
	link, ok, err := d.host.Link(e.HostInterface)
	if err == nil && ok {
		err = d.host.PutForwarding(link.Index, e.MAC)
	}
	if err = errors.Join(err, <-guard); err != nil {
		return err
	}
	return d.host.SetPort(p)
}

// regard puts an endpoint's new addresses and MAC under guard, and returns a function that gives up those that it no longer has.
func (d *Driver) regard(e network.Endpoint) (finish func() error, err error) {
	link, ok, err := d.host.Link(e.HostInterface)
	if err != nil || !ok {
		return nil, errors.Join(err, errors.New("its port "+e.HostInterface+" does not exist"))
	}
	former := slices.DeleteFunc(d.guardedMACs(e), func(m net.HardwareAddr) bool { return m.String() == e.MAC.String() })
	if err := errors.Join(d.guardPort(e, former...), d.host.PutForwarding(link.Index, e.MAC)); err != nil {
		return nil, err
	}
	return func() error {
		errs := []error{d.guardPort(e)}
		for _, mac := range former {
			errs = append(errs, d.host.DeleteForwarding(link.Index, mac))
		}
		return errors.Join(errs...)
	}, nil
}

// restoreGuard compares the guard and the FDB with the endpoints of a network.
func (d *Driver) restoreGuard(bridge kernel.Link, wanted map[string]wantedEndpoint) (changes []string, err error) {
	have, err := d.host.Forwardings(bridge.Index)
	if err != nil {
		return nil, err
	}
	for name, e := range wanted {
		if !e.Renumbering { // else its MAC is being changed
			err = errors.Join(err, d.guardPort(e.Endpoint))
		}
		link, there, lerr := d.host.Link(name)
		if err = errors.Join(err, lerr); !there || link.Master != bridge.Index || have[kernel.Forwarding{Port: link.Index, MAC: e.MAC.String()}] {
			continue
		}
		err = errors.Join(err, d.host.PutForwarding(link.Index, e.MAC))
		changes = append(changes, "FDB entry "+e.MAC.String()+" on "+name)
	}
	return changes, err
}

// guardedMACs are the MACs of an endpoint that are under guard.
func (d *Driver) guardedMACs(e network.Endpoint) []net.HardwareAddr {
	if d.ports == nil {
		return nil
	}
	return d.ports.MACs(e.HostInterface)
}

// unguard takes an endpoint that could not be made from the guard. Elements that stay after a failure are removed at the next start.
func (d *Driver) unguard(e network.Endpoint) {
	if d.ports != nil {
		_ = d.ports.DropPorts(e.HostInterface)
	}
}
