package bridge

import (
	"errors"
	"net"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
)

// guarded returns the port guard's entry for an endpoint.
func guarded(e endpoint.Endpoint, former ...net.HardwareAddr) portguard.Port {
	p := portguard.Port{Name: e.HostInterface, Bridge: e.Bridge, MACs: append([]net.HardwareAddr{e.MAC}, former...),
		Allowed: e.Spec.Allowed}
	for _, a := range slices.Concat(e.AllAddresses(), e.LinkLocals()) {
		p.Addresses = append(p.Addresses, a.Addr())
	}
	return p
}

// guardedBridge returns the port guard's entry for a network's bridge. On an adopted bridge,
// addresses of the subnet may belong to other hosts.
func guardedBridge(n network.Network) portguard.Bridge {
	b := portguard.Bridge{Name: n.Bridge().Device, Internal: n.Spec.Internal}
	if n.Status.AdoptedBridge && n.Bridge().Device != network.DefaultBridgeName {
		return b
	}
	for _, p := range n.AllPools() {
		b.Subnets = append(b.Subnets, p.Subnet)
	}
	return b
}

// Guard loads the port guard with all networks and sandboxes. It must run before any other change
// of the guard.
func (d *Driver) Guard(networks []network.Network, sandboxes []endpoint.Sandbox) (changed bool, err error) {
	if d.ports == nil {
		return false, nil
	}

	var bridges []portguard.Bridge
	known := map[string]bool{}
	for _, n := range networks {
		if n.Bridge().Device != "" {
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

// guardPort adds an endpoint to the port guard before its port comes up. former holds MACs that the
// endpoint is to lose.
func (d *Driver) guardPort(e endpoint.Endpoint, former ...net.HardwareAddr) error {
	if d.ports == nil {
		return nil
	}
	return d.ports.PutPort(guarded(e, former...))
}

// openPort locks a port, writes its FDB entry and sets it up after the port guard has its entry.
func (d *Driver) openPort(p kernel.Port, e endpoint.Endpoint, guard <-chan error) error {
	link, ok, err := d.host.Link(e.HostInterface)
	if err == nil && ok {
		err = d.host.PutForwarding(link.Index, e.MAC)
	}
	if err = errors.Join(err, <-guard); err != nil {
		return err
	}
	return d.host.SetPort(p)
}

// regard adds the new addresses and MAC of an endpoint to the port guard. The function it returns
// removes the former ones.
func (d *Driver) regard(e endpoint.Endpoint) (finish func() error, err error) {
	link, ok, err := d.host.Link(e.HostInterface)
	if err != nil || !ok {
		return nil, errors.Join(err, errors.New("port "+e.HostInterface+" does not exist"))
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

// guardedMACs returns the MACs of an endpoint that have entries in the port guard.
func (d *Driver) guardedMACs(e endpoint.Endpoint) []net.HardwareAddr {
	if d.ports == nil {
		return nil
	}
	return d.ports.MACs(e.HostInterface)
}

// unguard removes the entries of a failed endpoint from the port guard. The next start removes
// those that remain after an error.
func (d *Driver) unguard(e endpoint.Endpoint) {
	if d.ports != nil {
		_ = d.ports.DropPorts(e.HostInterface)
	}
}
