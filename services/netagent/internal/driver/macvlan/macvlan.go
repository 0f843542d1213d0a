// Package macvlan is the driver of macvlan and ipvlan networks. Each container interface is a
// sub-interface of a link of the host, the parent interface, and a host of its own on the parent's
// LAN.
//
// It allocates no addresses, but runs DHCP for networks that use it. It only stores the last known
// link of each parent, to recognize a renamed or replaced one. Packages attach,
// bringup, leases and sandbox call it through its contract.
//
// The kernel deletes sub-interfaces with their parent. Apply creates them again when the parent is
// back.
package macvlan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Driver implements macvlan and ipvlan networks on a host.
type Driver struct {
	host *kernel.Host
	// networks returns all networks that are not being deleted, sandboxes all sandboxes.
	networks  func() []network.Network
	sandboxes func() []endpoint.Sandbox

	announcer *driver.Announcer

	mu   sync.Mutex
	seen map[string]parentState // by parent name
}

// New returns the driver of a host.
func New(host *kernel.Host, networks func() []network.Network, sandboxes func() []endpoint.Sandbox) *Driver {
	return &Driver{host: host, networks: networks, sandboxes: sandboxes, seen: map[string]parentState{},
		announcer: driver.NewAnnouncer()}
}

// RunLinkGC waits for ctx to end and then stops the announcements. Sub-interfaces need no
// collection, as the kernel deletes them with their namespace.
func (d *Driver) RunLinkGC(ctx context.Context, _ func(error)) {
	<-ctx.Done()
	d.announcer.Close()
}

// Complete fills in the fields of an endpoint that this driver defines. This is the MAC of the
// parent, if the kernel gives it to sub-interfaces.
func (d *Driver) Complete(n network.Network, e endpoint.Endpoint) endpoint.Endpoint {
	if !sharesMAC(n) {
		return e
	}
	if parent, ok, err := d.parent(n); err == nil && ok {
		e.MAC = parent.MAC
	}
	return e
}

// sharesMAC reports whether the network's sub-interfaces have the MAC of their parent.
func sharesMAC(n network.Network) bool {
	return n.Driver == network.DriverIPvlan || n.Parent().Mode == network.ModePassthru
}

// upParent returns the network's parent, or a fault if it does not exist or is down.
func (d *Driver) upParent(n network.Network) (kernel.Link, error) {
	parent, ok, err := d.parent(n)
	switch {
	case err != nil:
		return parent, fault.Wrap(err, fault.Internal, n.Subject(), "cannot look up parent interface "+n.Parent().Link)
	case !ok:
		return parent, fault.New(fault.Unavailable, n.Subject(), "parent interface "+n.Parent().Link+" does not exist",
			fault.WithHint("restore it; running containers are then attached again"))
	case parent.Master != 0:
		return parent, d.checkLink(n, parent)
	case !parent.Up:
		return parent, fault.New(fault.Unavailable, n.Subject(), "parent interface "+n.Parent().Link+" is down",
			fault.WithHint("run: ip link set %s up", parent.Name))
	}

	if n.Spec.MTU > parent.MTU {
		return parent, tooLong(n, parent)
	}

	return parent, nil
}

// Attach creates and configures an endpoint's interface in its namespace. AcquireLease may have
// created it already. If Attach fails, no interface remains.
func (d *Driver) Attach(ns *kernel.Namespace, n network.Network, owner string, e endpoint.Endpoint) error {
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

func (d *Driver) add(ns *kernel.Namespace, n network.Network, parent kernel.Link, owner string,
	e endpoint.Endpoint) error {
	if err := d.host.AddSubInterface(d.childOf(n, parent, owner, e), unnamed+e.ID[:10], ns); err != nil {
		return d.explain(n, e, err)
	}
	return nil
}

// configure applies the desired state to a new interface of an endpoint.
func (d *Driver) configure(ns *kernel.Namespace, n network.Network, parent kernel.Link,
	e endpoint.Endpoint) (err error) {
	inside := driver.ContainerInterface(e)
	inside.IPv6 = n.Spec.DHCP6
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

// unnamed is the prefix of the names of sub-interfaces that do not have their final name yet.
const unnamed = "child"

func (d *Driver) childOf(n network.Network, parent kernel.Link, owner string, e endpoint.Endpoint) kernel.SubInterface {
	c := kernel.SubInterface{Name: e.Interface, Parent: parent.Index, MAC: e.MAC, MTU: n.Spec.MTU,
		Mode: n.Parent().Mode,
		Flag: n.IPvlanFlag(), Alias: endpoint.Alias(n.ID, owner)}
	if n.Parent().Mode == network.ModePassthru {
		c.MAC = net.HardwareAddr(nil) // the parent's, which must not be changed
	}
	return c
}

// explain translates the kernel's error for a failed sub-interface.
func (d *Driver) explain(n network.Network, e endpoint.Endpoint, err error) error {
	switch {
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EINVAL) && n.Parent().Mode == network.ModePassthru:
		return fault.New(fault.Busy, n.Subject(),
			"parent interface "+n.Parent().Link+" cannot have another "+n.Driver+" sub-interface",
			fault.WithCause(err),
			fault.WithHint("it is a bridge or bond port, or used by another driver or by mode passthru"))
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.New(fault.Exists, n.Subject(),
			fmt.Sprintf("another sub-interface of %s has the MAC address %s", n.Parent().Link, e.MAC),
			fault.WithField("mac-address"), fault.WithHint("choose another --mac-address"))
	case errors.Is(err, syscall.EOPNOTSUPP):
		return unknown(n)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.ENOMEM):
		return fault.New(fault.Exhausted, n.Subject(),
			"kernel has no memory for another sub-interface of "+n.Parent().Link, fault.WithCause(err))
	}
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot attach "+e.Interface)
}

func unknown(n network.Network) error {
	return fault.New(fault.Unavailable, n.Subject(), "kernel has no "+n.Driver, fault.WithField("driver"),
		fault.WithHint("load or build it: modprobe %s (CONFIG_%s)", n.Driver, map[string]string{
			network.DriverMacvlan: "MACVLAN", network.DriverIPvlan: "IPVLAN"}[n.Driver]))
}

// tooLong returns the fault for an MTU that is larger than the parent's.
func tooLong(n network.Network, parent kernel.Link) error {
	return fault.New(fault.Invalid, n.Subject(), fmt.Sprintf(
		"MTU %d is larger than the MTU %d of parent interface %s", n.Spec.MTU, parent.MTU, parent.Name),
		fault.WithField("mtu"), fault.WithHint("choose a smaller one, or run: ip link set %s mtu %d", parent.Name,
			n.Spec.MTU))
}

// Detach removes the host route to an endpoint and its interface. It does not wait for the
// namespace, which a process may keep: two containers would use the same address, or the MAC would
// stay in use. It does nothing if the endpoint does not exist.
func (d *Driver) Detach(n network.Network, sb endpoint.Sandbox, e endpoint.Endpoint) error {
	d.announcer.Stop(e.ID)
	err := d.removeHostRoute(n, e)
	if kernel.Pinned(sb.NetnsPath) {
		err = errors.Join(err, kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
			return ns.DeleteChild(e.Interface)
		}))
	}
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot detach "+e.Interface)
}

// Remove is Detach, which already waits for the deletion.
func (d *Driver) Remove(n network.Network, sb endpoint.Sandbox, e endpoint.Endpoint) error {
	return d.Detach(n, sb, e)
}
