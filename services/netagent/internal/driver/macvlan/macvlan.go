// Package macvlan is the driver of macvlan and ipvlan networks: each interface of a container is a child of a link of the host, its
// parent, and so a citizen of the parent's LAN. What it is told is the truth; it keeps nothing of its own but which link each parent
// was last, so as to know it again when it is renamed, and to notice when it is another one.
//
// Children vanish with their parent. Restore makes them again when it is back.
package macvlan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Driver makes macvlan and ipvlan networks be as told.
type Driver struct {
	host *kernel.Host
	// networks answers all networks but those that are being deleted, and sandboxes all sandboxes.
	networks  func() []network.Network
	sandboxes func() []network.Sandbox

	announcer *driver.Announcer

	mu   sync.Mutex
	seen map[string]parentState // by the parent's name
}

// New makes the driver on a host.
func New(host *kernel.Host, networks func() []network.Network, sandboxes func() []network.Sandbox) *Driver {
	return &Driver{host: host, networks: networks, sandboxes: sandboxes, seen: map[string]parentState{}, announcer: driver.NewAnnouncer()}
}

// Bury has little to do: a child is gone with its namespace. What is told of addresses ends with it.
func (d *Driver) Bury(ctx context.Context, _ func(error)) {
	<-ctx.Done()
	d.announcer.Close()
}

// Complete fills in what this driver decides of an endpoint: where the kernel gives a child its parent's hardware address, it has
// that.
func (d *Driver) Complete(n network.Network, e network.Endpoint) network.Endpoint {
	if !sharesMAC(n) {
		return e
	}
	if parent, ok, err := d.parent(n); err == nil && ok {
		e.MAC = parent.MAC
	}
	return e
}

// sharesMAC tells whether the kernel gives the network's children their parent's hardware address.
func sharesMAC(n network.Network) bool {
	return n.Driver == network.DriverIPvlan || n.Mode == network.ModePassthru
}

// upParent is the network's parent, or why there can be no children of it now.
func (d *Driver) upParent(n network.Network) (kernel.Link, error) {
	parent, ok, err := d.parent(n)
	switch {
	case err != nil:
		return parent, fault.Wrap(err, fault.Internal, n.Subject(), "cannot look for its parent interface "+n.Parent)
	case !ok:
		return parent, fault.New(fault.Unavailable, n.Subject(), "its parent interface "+n.Parent+" is not there",
			fault.WithHint("bring it back; running containers of the network are plugged in again by themselves"))
	case parent.Master != 0:
		return parent, d.checkLink(n, parent)
	case !parent.Up:
		return parent, fault.New(fault.Unavailable, n.Subject(), "its parent interface "+n.Parent+" is down", fault.WithHint("ip link set %s up", parent.Name))
	}
	if n.MTU > parent.MTU {
		return parent, tooLong(n, parent)
	}
	return parent, nil
}

// Attach makes an endpoint's interface in its namespace, if that has not been made to ask for addresses by it. If it fails, there is none.
func (d *Driver) Attach(ns *kernel.Namespace, n network.Network, owner string, e network.Endpoint) error {
	parent, err := d.upParent(n)
	if err != nil {
		return err
	}
	if n.UsesDHCP() {
		err = d.addUnaddressed(ns, n, parent, owner, e)
	} else {
		err = d.add(ns, n, parent, owner, e)
	}
	if err != nil {
		return err
	}
	if err := d.configure(ns, n, parent, e); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return errors.Join(d.explain(n, e, err), ns.DeleteChild(e.Interface))
		}
		return driver.AttachFault(n, e, errors.Join(err, ns.DeleteChild(e.Interface)))
	}
	return nil
}

func (d *Driver) add(ns *kernel.Namespace, n network.Network, parent kernel.Link, owner string, e network.Endpoint) error {
	if err := d.host.AddSubInterface(d.childOf(n, parent, owner, e), unnamed+e.ID[:10], ns); err != nil {
		return d.explain(n, e, err)
	}
	return nil
}

// configure gives an endpoint's new interface what it is to have.
func (d *Driver) configure(ns *kernel.Namespace, n network.Network, parent kernel.Link, e network.Endpoint) (err error) {
	inside := driver.ContainerInterface(e)
	inside.IPv6 = n.DHCP6
	if inside.Neighbours, err = d.hostNeighbours(n, parent); err != nil {
		return err
	}
	if err = ns.Configure(inside); err == nil && parent.Carrier {
		err = ns.AwaitUp(e.Interface)
	}
	if err == nil && n.UsesDHCP() {
		err = fit(ns, n, e)
	}
	if err != nil {
		return err
	}
	d.announcer.Announce(ns, n, e)
	return d.addHostRoute(n, parent, e)
}

// unnamed begins the names of children that have no other name yet.
const unnamed = "child"

func (d *Driver) childOf(n network.Network, parent kernel.Link, owner string, e network.Endpoint) kernel.SubInterface {
	c := kernel.SubInterface{Name: e.Interface, Parent: parent.Index, MAC: e.MAC, MTU: n.MTU, Mode: n.Mode, Flag: n.Flag, Alias: network.Alias(n.ID, owner)}
	if n.Mode == network.ModePassthru {
		c.MAC = net.HardwareAddr(nil) // it has the parent's, which must not be changed
	}
	return c
}

// explain says in words why the kernel does not make a child.
func (d *Driver) explain(n network.Network, e network.Endpoint, err error) error {
	switch {
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EINVAL) && n.Mode == network.ModePassthru:
		return fault.New(fault.Busy, n.Subject(), "its parent interface "+n.Parent+" can have no (more) "+n.Driver+" children", fault.WithCause(err),
			fault.WithHint("it is a port of a bridge or bond, has children of another kind, or a child in mode passthru, which wants it alone"))
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.New(fault.Exists, n.Subject(), fmt.Sprintf("another child of %s has the hardware address %s", n.Parent, e.MAC),
			fault.WithField("mac-address"), fault.WithHint("choose another --mac-address"))
	case errors.Is(err, syscall.EOPNOTSUPP):
		return unknown(n)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.ENOMEM):
		return fault.New(fault.Exhausted, n.Subject(), "the kernel has no room for another child of "+n.Parent, fault.WithCause(err))
	}
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot attach "+e.Interface)
}

func unknown(n network.Network) error {
	return fault.New(fault.Unavailable, n.Subject(), "the kernel has no "+n.Driver, fault.WithField("driver"),
		fault.WithHint("load or build it: modprobe %s (CONFIG_%s)", n.Driver, map[string]string{
			network.DriverMacvlan: "MACVLAN", network.DriverIPvlan: "IPVLAN"}[n.Driver]))
}

// tooLong says that a child cannot send longer packets than its parent.
func tooLong(n network.Network, parent kernel.Link) error {
	return fault.New(fault.Invalid, n.Subject(), fmt.Sprintf("its MTU %d is larger than the MTU %d of its parent interface %s", n.MTU, parent.MTU, parent.Name),
		fault.WithField("mtu"), fault.WithHint("choose a smaller one, or ip link set %s mtu %d", parent.Name, n.MTU))
}

// Refit has an endpoint follow a change of the network: its MTU and the length of its addresses. One that is gone with its parent comes
// back as it is to be.
func (d *Driver) Refit(ns *kernel.Namespace, n network.Network, e network.Endpoint) error {
	parent, ok, err := d.parent(n)
	if err == nil && ok && n.MTU > parent.MTU {
		return tooLong(n, parent)
	}
	if err == nil && !ok {
		if _, _, there, err := ns.Child(e.Interface); err == nil && !there {
			return nil
		}
	}
	return fault.Wrap(ns.UpdateInterface(e.Interface, e.Addresses(), n.MTU), fault.Internal, n.Subject(), "cannot change "+e.Interface)
}

// Renew gives an endpoint's interface the addresses that it is to have, those of before among them, and takes others off.
func (d *Driver) Renew(ns *kernel.Namespace, n network.Network, e network.Endpoint, gone []netip.Prefix) error {
	parent, ok, err := d.parent(n)
	if err != nil || !ok {
		return fault.New(fault.Unavailable, n.Subject(), "its parent interface "+n.Parent+" is not there", fault.WithCause(err))
	}
	want := driver.ContainerInterface(e)
	want.Addresses = append(want.Addresses, e.Former...)
	if want.Neighbours, err = d.hostNeighbours(n, parent); err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot renew "+e.Interface)
	}
	mac := e.MAC
	if sharesMAC(n) {
		mac = nil
	}
	lead := func() error { return d.addHostRoute(n, parent, e) }
	if err = ns.Readdress(want, mac, lead); err == nil {
		d.announcer.Stop(e.ID)
		d.announcer.Announce(ns, n, e)
		err = lead()
	}
	past := e
	past.IPv4, past.IPv6, past.Former = netip.Prefix{}, netip.Prefix{}, gone
	return fault.Wrap(errors.Join(err, d.removeHostRoute(n, past)), fault.Internal, n.Subject(), "cannot renew "+e.Interface)
}

// Detach ends the host's way to an endpoint, and takes its interface away: it would be gone with its namespace, but that a process may
// hold, and then two would answer for one address, or nobody else could have the hardware address. No error if there is nothing.
func (d *Driver) Detach(n network.Network, sb network.Sandbox, e network.Endpoint) error {
	d.announcer.Stop(e.ID)
	err := d.removeHostRoute(n, e)
	if kernel.Pinned(sb.NetnsPath) {
		err = errors.Join(err, kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error { return ns.DeleteChild(e.Interface) }))
	}
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot detach "+e.Interface)
}

// Remove is Detach: nothing is left when that returns.
func (d *Driver) Remove(n network.Network, sb network.Sandbox, e network.Endpoint) error {
	return d.Detach(n, sb, e)
}
