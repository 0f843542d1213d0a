// Package child is the driver of macvlan and ipvlan networks: each interface of a container is a child of a link of the host, its
// parent, and so a citizen of the parent's LAN. What it is told is the truth; it keeps nothing of its own but which link each parent
// was last, so as to know it again when it is renamed, and to notice when it is another one.
//
// Children vanish with their parent. Restore makes them again when it is back.
package child

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/netagent/driver"
	"github.com/fairlead/fairlead/services/netagent/kernel"
	"github.com/fairlead/fairlead/services/netagent/network"
)

// Driver makes macvlan and ipvlan networks be as told.
type Driver struct {
	host *kernel.Host
	// networks answers all networks but those that are being deleted.
	networks func() []network.Network

	mu   sync.Mutex
	seen map[string]sighting   // by the parent's name
	left map[netip.Addr]leaver // by the address that was theirs
}

// New makes the driver on a host.
func New(host *kernel.Host, networks func() []network.Network) *Driver {
	return &Driver{host: host, networks: networks, seen: map[string]sighting{}, left: map[netip.Addr]leaver{}}
}

// Bury has nothing to do: a child is gone with its namespace.
func (d *Driver) Bury(context.Context, func(error)) {}

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

// Attach makes an endpoint's interface in its namespace. If it fails, there is none.
func (d *Driver) Attach(ns *kernel.Namespace, n network.Network, owner string, e network.Endpoint) error {
	parent, ok, err := d.parent(n)
	switch {
	case err != nil:
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot look for its parent interface "+n.Parent)
	case !ok:
		return fault.New(fault.Unavailable, n.Subject(), "its parent interface "+n.Parent+" is not there",
			fault.WithHint("bring it back; running containers of the network are plugged in again by themselves"))
	case !parent.Up:
		return fault.New(fault.Unavailable, n.Subject(), "its parent interface "+n.Parent+" is down", fault.WithHint("ip link set %s up", parent.Name))
	}
	if err := d.host.AddChild(d.childOf(n, parent, e), "child"+e.ID[:10], ns); err != nil {
		return d.explain(n, e, err)
	}
	if err := d.plugAfter(ns, n, parent, e); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return errors.Join(d.explain(n, e, err), ns.DeleteChild(e.Interface))
		}
		return driver.Unattached(n, e, errors.Join(err, ns.DeleteChild(e.Interface)))
	}
	return nil
}

// plugAfter is plug for an address whose interface of before may not be gone yet: the kernel takes namespaces away in its own time, and
// until then nobody else's interface of that hardware address comes up.
func (d *Driver) plugAfter(ns *kernel.Namespace, n network.Network, parent kernel.Link, e network.Endpoint) error {
	const pause = 10 * time.Millisecond
	for end := time.Now().Add(freshlyLeft); ; time.Sleep(pause) {
		err := d.plug(ns, n, parent, e)
		waits := errors.Is(err, syscall.EADDRINUSE) && slices.ContainsFunc(e.Addresses(), func(p netip.Prefix) bool { return d.leftJustNow(p.Addr()) != nil })
		if !waits || time.Now().After(end) {
			return err
		}
	}
}

// plug gives an endpoint's new interface what it is to have.
func (d *Driver) plug(ns *kernel.Namespace, n network.Network, parent kernel.Link, e network.Endpoint) (err error) {
	inside := driver.Inside(e)
	inside.Announce = true
	if inside.Neighbours, err = d.hostNeighbours(n, parent); err != nil {
		return err
	}
	if err = ns.Configure(inside); err == nil && parent.Carrier {
		err = ns.AwaitUp(e.Interface)
	}
	if err != nil {
		return err
	}
	return d.lead(n, parent, e)
}

func (d *Driver) childOf(n network.Network, parent kernel.Link, e network.Endpoint) kernel.Child {
	c := kernel.Child{Name: e.Interface, Parent: parent.Index, MAC: e.MAC, MTU: n.MTU, Mode: n.Mode, Flag: n.Flag}
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

// Refit has an endpoint follow a change of the network: its MTU and the length of its addresses.
func (d *Driver) Refit(ns *kernel.Namespace, n network.Network, e network.Endpoint) error {
	return fault.Wrap(ns.Refit(e.Interface, e.Addresses(), n.MTU), fault.Internal, n.Subject(), "cannot change "+e.Interface)
}

// Detach ends the host's way to an endpoint. Its interface vanishes with its namespace. No error if there is nothing.
func (d *Driver) Detach(n network.Network, _ string, e network.Endpoint) error {
	d.leave(e)
	return fault.Wrap(d.forget(n, e), fault.Internal, n.Subject(), "cannot detach "+e.Interface)
}

// Remove is Detach for an endpoint in a namespace that stays: the interface is gone when it returns.
func (d *Driver) Remove(n network.Network, sb network.Sandbox, e network.Endpoint) error {
	err := d.Detach(n, sb.Owner, e)
	if !kernel.Pinned(sb.NetnsPath) {
		return err
	}
	gone := kernel.InPinned(sb.NetnsPath, func(ns *kernel.Namespace) error { return ns.DeleteChild(e.Interface) })
	return errors.Join(err, fault.Wrap(gone, fault.Internal, n.Subject(), "cannot remove "+e.Interface))
}
