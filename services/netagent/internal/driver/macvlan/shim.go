package macvlan

import (
	"errors"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// The kernel passes nothing between a parent and its own children. So the host has a child of its own on the parent, the shim, with a
// route to each container; and each container knows by permanent neighbour entries that the host's addresses on the parent are at the
// shim. The shim has no address and answers no ARP: on the LAN nothing of it is seen.

// wantsShim tells whether the network has a shim: where children talk to each other at all, and to the LAN.
func wantsShim(n network.Network) bool {
	if n.NoShim || n.Internal {
		return false
	}
	return n.Driver == network.DriverMacvlan && n.Mode == "bridge" || n.Driver == network.DriverIPvlan && n.Mode == network.ModeL2 && n.Flag == "bridge"
}

// shimName is within the kernel's 15 characters.
func shimName(n network.Network) string { return "shim-" + id.Short(n.ID)[:10] }

func shimAlias(n network.Network) string { return network.Alias(n.ID, "shim") }

// ensureShim makes the network's shim, or takes away one that it shall not have, or that was being made when its maker was killed.
func (d *Driver) ensureShim(n network.Network, parent kernel.Link) (changes []string, err error) {
	if !wantsShim(n) {
		return nil, d.deleteLink(shimName(n))
	}
	link, ok, err := d.host.Link(shimName(n))
	if ok && link.Alias != shimAlias(n) {
		err, ok = d.deleteLink(shimName(n)), false
	}
	mtu := min(n.MTU, parent.MTU)
	if err == nil && ok && mtu != 0 && link.MTU != mtu {
		err = d.host.SetMTU(link.Name, mtu)
	}
	if err != nil || ok && link.Up || !parent.Up {
		return nil, err
	}
	if ok {
		return []string{link.Name + " up"}, d.host.SetUp(link.Name)
	}
	c := kernel.SubInterface{Name: shimName(n), Parent: parent.Index, MTU: mtu, Mode: n.Mode, Flag: n.Flag, MAC: network.HostMAC(n.ID), Alias: shimAlias(n)}
	// Answer for no address, and neither make one up nor take what routers advertise; see the kernel's ip-sysctl.rst.
	return []string{"made " + c.Name}, d.host.AddHostChild(c, []kernel.Sysctl{
		{Path: "net/ipv4/conf/" + c.Name + "/arp_ignore", Value: "8"},
		{Path: "net/ipv6/conf/" + c.Name + "/addr_gen_mode", Value: "1"},
		{Path: "net/ipv6/conf/" + c.Name + "/accept_ra", Value: "0"},
	})
}

// hostNeighbours are the entries by which a container of the network finds the host.
func (d *Driver) hostNeighbours(n network.Network, parent kernel.Link) ([]kernel.Neighbour, error) {
	if !wantsShim(n) {
		return nil, nil
	}
	shim, ok, err := d.host.Link(shimName(n))
	if err != nil || !ok {
		return nil, err
	}
	addrs, err := d.host.UsableAddresses(parent.Index)
	var out []kernel.Neighbour
	for _, a := range addrs {
		if a.Addr().Is4() && n.HasIPv4() || a.Addr().Is6() && n.HasIPv6() {
			out = append(out, kernel.Neighbour{Addr: a.Addr(), MAC: shim.MAC})
		}
	}
	return out, err
}

// addHostRoute leads the host to an endpoint by the shim, with the address that the parent has in the same subnet, or else any.
func (d *Driver) addHostRoute(n network.Network, parent kernel.Link, e network.Endpoint) error {
	if !wantsShim(n) {
		return nil
	}
	shim, ok, err := d.host.Link(shimName(n))
	if err != nil || !ok {
		return err
	}
	addrs, err := d.host.UsableAddresses(parent.Index)
	if err != nil {
		return err
	}
	if sharesMAC(n) {
		e.MAC = parent.MAC // which may be another than when the endpoint was made
	}
	for _, to := range e.AllAddresses() {
		var source kernel.Source
		for _, a := range addrs {
			if a.Addr().Is4() != to.Addr().Is4() {
				continue
			}
			if !source.Addr.IsValid() || a.Contains(to.Addr()) {
				source.Addr = a.Addr()
			}
		}
		if !source.Addr.IsValid() {
			continue // the host has no address there that could be answered
		}
		err = errors.Join(err, d.host.PutNeighbour(shim.Index, kernel.Neighbour{Addr: to.Addr(), MAC: e.MAC}),
			d.host.PutHostRoute(shim.Index, to.Addr(), source))
	}
	return err
}

// removeHostRoute takes the host's way to an endpoint away.
func (d *Driver) removeHostRoute(n network.Network, e network.Endpoint) error {
	shim, ok, err := d.host.Link(shimName(n))
	if err != nil || !ok {
		return err
	}
	for _, to := range e.AllAddresses() {
		err = errors.Join(err, d.host.DeleteHostRoute(shim.Index, to.Addr()), d.host.DeleteNeighbour(shim.Index, to.Addr()))
	}
	return err
}
