package macvlan

import (
	"errors"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// The kernel forwards no frames between a parent interface and its sub-interfaces. So the host has
// a sub-interface of its own on the parent, the shim, with a host route to each container. Each
// container has permanent neighbour entries with the shim's MAC for the host's addresses on the
// parent. The shim has no address and does not respond to ARP, so it is not visible on the LAN.

// wantsShim reports whether the network has a shim. It needs a mode in which sub-interfaces can
// reach each other and the LAN.
func wantsShim(n network.Network) bool {
	if n.Parent().NoShim || n.Spec.Internal {
		return false
	}
	return n.Driver == network.DriverMacvlan && n.Parent().Mode == "bridge" || n.Driver == network.DriverIPvlan &&
		n.Parent().Mode == network.ModeL2 && n.IPvlanFlag() == "bridge"
}

// shimName returns the name of the shim, within the kernel's limit of 15 characters.
func shimName(n network.Network) string { return "shim-" + id.Short(n.ID)[:10] }

func shimAlias(n network.Network) string { return endpoint.Alias(n.ID, "shim") }

// ensureShim creates or deletes the network's shim as the options require. It also deletes one
// whose creation was interrupted.
func (d *Driver) ensureShim(n network.Network, parent kernel.Link) (changes []string, err error) {
	if !wantsShim(n) {
		return nil, d.deleteLink(shimName(n))
	}

	link, ok, err := d.host.Link(shimName(n))
	if ok && link.Alias != shimAlias(n) {
		err, ok = d.deleteLink(shimName(n)), false
	}

	mtu := min(n.Spec.MTU, parent.MTU)
	if err == nil && ok && mtu != 0 && link.MTU != mtu {
		err = d.host.SetMTU(link.Name, mtu)
	}

	if err != nil || ok && link.Up || !parent.Up {
		return nil, err
	}

	if ok {
		return []string{link.Name + " up"}, d.host.SetUp(link.Name)
	}

	c := kernel.SubInterface{Name: shimName(n), Parent: parent.Index, MTU: mtu, Mode: n.Parent().Mode,
		Flag: n.IPvlanFlag(),
		MAC:  endpoint.HostMAC(n.ID), Alias: shimAlias(n)}
	// The shim responds for no address, creates none, and ignores router advertisements; see the
	// kernel's ip-sysctl.rst.
	return []string{"created " + c.Name}, d.host.AddHostChild(c, []kernel.Sysctl{
		{Path: "net/ipv4/conf/" + c.Name + "/arp_ignore", Value: "8"},
		{Path: "net/ipv6/conf/" + c.Name + "/addr_gen_mode", Value: "1"},
		{Path: "net/ipv6/conf/" + c.Name + "/accept_ra", Value: "0"},
	})
}

// hostNeighbours returns the neighbour entries of containers for the host.
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

// hostEntry is the host route and the neighbour entry of an endpoint's address on the shim.
type hostEntry struct {
	kernel.Neighbour
	source kernel.Source
}

// hostEntries returns the entries of an endpoint on the shim. The source of a route is the parent's
// address in the same subnet, otherwise any address of the parent.
func (d *Driver) hostEntries(n network.Network, parent kernel.Link, e endpoint.Endpoint) (out []hostEntry, err error) {
	if !wantsShim(n) {
		return nil, nil
	}

	addrs, err := d.host.UsableAddresses(parent.Index)
	if err != nil {
		return nil, err
	}

	mac := e.MAC
	if sharesMAC(n) {
		mac = parent.MAC // which may have changed since the endpoint was created
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
		if source.Addr.IsValid() { // otherwise the host has no usable source address of this family
			out = append(out, hostEntry{kernel.Neighbour{Addr: to.Addr(), MAC: mac}, source})
		}
	}
	return out, nil
}

// addHostRoute adds the host route to an endpoint through the shim.
func (d *Driver) addHostRoute(n network.Network, parent kernel.Link, e endpoint.Endpoint) error {
	entries, err := d.hostEntries(n, parent, e)
	if err != nil || len(entries) == 0 {
		return err
	}

	shim, ok, err := d.host.Link(shimName(n))
	if err != nil || !ok {
		return err
	}

	for _, w := range entries {
		err = errors.Join(err, d.host.PutNeighbour(shim.Index, w.Neighbour),
			d.host.PutHostRoute(shim.Index, w.Addr, w.source))
	}
	return err
}

// removeHostRoute removes the host route to an endpoint.
func (d *Driver) removeHostRoute(n network.Network, e endpoint.Endpoint) error {
	shim, ok, err := d.host.Link(shimName(n))
	if err != nil || !ok {
		return err
	}
	for _, to := range e.AllAddresses() {
		err = errors.Join(err, d.host.DeleteHostRoute(shim.Index, to.Addr()),
			d.host.DeleteNeighbour(shim.Index, to.Addr()))
	}
	return err
}
