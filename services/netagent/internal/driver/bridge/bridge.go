// Package bridge is the driver of networks that are a Linux bridge on the host: the bridge itself, the veth pairs that plug
// sandboxes into it, and the permanent neighbour entries on both sides. What it is told is the truth; it keeps nothing of its
// own but the pairs that are still to vanish.
package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
)

// MaxPorts is how many ports the kernel gives a bridge.
const MaxPorts = 1023

// Driver makes bridge networks be as told.
type Driver struct {
	host      *kernel.Host
	ports     *portguard.Guard
	pending   pendingDeletes
	announcer *driver.Announcer
}

// New makes the driver on a host. A nil guard leaves ports without one.
func New(host *kernel.Host, ports *portguard.Guard) *Driver {
	return &Driver{host: host, ports: ports, pending: pendingDeletes{wake: make(chan struct{}, 1)}, announcer: driver.NewAnnouncer()}
}

// Ensure makes the network's bridge, or puts right what is wrong with it, and tells what it did and whether the bridge is new.
// Loopback connections are only let through to it when the network is guarded.
func (d *Driver) Ensure(n network.Network, guarded bool) (changes []string, created bool, err error) {
	want := kernel.Bridge{Name: n.Bridge, MTU: n.MTU, Addresses: n.HostAddresses()}
	want.Adopted = n.AdoptedBridge && n.Bridge != network.DefaultBridgeName // that name is only ever a container bridge's
	if len(n.Pools) > 0 && (!want.Adopted || len(want.Addresses) > 0) {     // the first pool's: IPv4 where there is any
		want.MAC = n.BridgeMAC()
	}
	changes, created, err = d.host.EnsureBridge(want)
	if errors.Is(err, kernel.ErrNotBridge) {
		return changes, false, fault.New(fault.Busy, n.Subject(), err.Error(),
			fault.WithHint("rename or delete that link, or choose another name with --bridge"))
	}
	if err == nil && d.ports != nil {
		err = d.ports.PutBridge(guardedBridge(n))
	}
	if err == nil && guarded && !n.Internal {
		var done []string
		done, err = d.host.EnableRouteLocalnet(n.Bridge, n.HasIPv6())
		changes = append(changes, done...)
	}
	return changes, created, fault.Wrap(err, fault.Internal, n.Subject(), "cannot make its bridge")
}

// Delete takes the network's bridge away, or its addresses off a bridge that was there before.
func (d *Driver) Delete(n network.Network) error {
	link, ok, err := d.host.Link(n.Bridge)
	switch {
	case err != nil || !ok || link.Kind != "bridge":
	case n.AdoptedBridge:
		err = errors.Join(d.host.RemoveAddresses(n.Bridge, n.HostAddresses()), d.host.DisableRouteLocalnet(n.Bridge))
	default:
		err = d.host.DeleteLink(link.Index)
	}
	if d.ports != nil {
		err = errors.Join(err, d.ports.DropBridge(n.Bridge))
	}
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot take its bridge away")
}

// Complete fills in what this driver decides of an endpoint.
func (d *Driver) Complete(n network.Network, e network.Endpoint) network.Endpoint {
	e.HostInterface, e.Bridge = network.HostInterface(e.ID), n.Bridge
	return e
}

// Attach plugs an endpoint in. If it fails, the pair ends with the namespace that it leads to.
func (d *Driver) Attach(ns *kernel.Namespace, n network.Network, owner string, e network.Endpoint) error {
	bridge, ok, err := d.host.Link(n.Bridge)
	if err != nil || !ok {
		return fault.New(fault.Unavailable, n.Subject(), "its bridge "+n.Bridge+" is not there", fault.WithCause(err),
			fault.WithHint("it is made again at once; try once more"))
	}
	guard := make(chan error, 1)
	go func() { guard <- d.guardPort(e) }() // while the pair is made, as both take about as long
	err = d.host.AddVeth(kernel.Veth{Name: e.HostInterface, MAC: network.HostMAC(e.ID), Peer: e.Interface, PeerMAC: e.MAC,
		MTU: n.MTU, Bridge: bridge.Index}, ns)
	if errors.Is(err, syscall.EXFULL) {
		<-guard
		d.unguard(e)
		return fault.New(fault.Exhausted, n.Subject(), fmt.Sprintf("all %d ports of its bridge %s are in use", MaxPorts, n.Bridge),
			fault.WithHint("the kernel allows no more; use a second network"))
	}
	if err != nil {
		err = errors.Join(err, <-guard)
	} else {
		err = d.openPort(d.portOf(n, owner, e), e, guard)
	}
	if err == nil {
		err = ns.Configure(inside(n, e))
	}
	if err == nil {
		err = d.putNeighbours(bridge.Index, e)
	}
	if err == nil {
		err = d.host.WaitCarrier(n.Bridge, e.HostInterface, ns, e.Interface)
	}
	if err != nil {
		_ = d.dropNeighbours(bridge.Index, e) // what failed first is what to tell
		d.unguard(e)
		return driver.AttachFault(n, e, err)
	}
	d.announcer.Announce(ns, n, e)
	return nil
}

// Detach cuts an endpoint off, so that its address can be given out again at once. The pair itself vanishes with its namespace,
// or is deleted soon if something holds that. No error if there is nothing.
func (d *Driver) Detach(n network.Network, sb network.Sandbox, e network.Endpoint) error {
	d.announcer.Stop(e.ID)
	err := d.host.DisablePort(e.HostInterface, e.MAC)
	bridge, ok, lookErr := d.host.Link(e.Bridge)
	if err = errors.Join(err, lookErr); ok {
		err = errors.Join(err, d.dropNeighbours(bridge.Index, e))
	}
	d.pending.add(e.HostInterface, network.Alias(n.ID, sb.Owner))
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot detach "+e.HostInterface)
}

// Remove is Detach for an endpoint in a namespace that stays: the pair is gone when it returns.
func (d *Driver) Remove(n network.Network, sb network.Sandbox, e network.Endpoint) error {
	err := d.Detach(n, sb, e)
	link, ok, lookErr := d.host.Link(e.HostInterface)
	if err = errors.Join(err, lookErr); ok && (link.Alias == network.Alias(n.ID, sb.Owner) || unfinished(link)) {
		err = errors.Join(err, d.host.DeleteLink(link.Index))
	}
	d.pending.drop(e.HostInterface) // it is gone, or goes on to be used
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot remove "+e.HostInterface)
}

// Refit has an endpoint follow a change of the network: its MTU and the length of its addresses.
func (d *Driver) Refit(ns *kernel.Namespace, n network.Network, e network.Endpoint) error {
	err := d.host.SetMTU(e.HostInterface, n.MTU)
	if err == nil {
		err = ns.UpdateInterface(e.Interface, e.Addresses(), n.MTU)
	}
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot change "+e.Interface)
}

// Renew gives an endpoint's interface the addresses that it is to have, those of before among them, and takes others off.
func (d *Driver) Renew(ns *kernel.Namespace, n network.Network, e network.Endpoint, gone []netip.Prefix) error {
	bridge, ok, err := d.host.Link(n.Bridge)
	if err != nil || !ok {
		return fault.New(fault.Unavailable, n.Subject(), "its bridge "+n.Bridge+" is not there", fault.WithCause(err))
	}
	want := inside(n, e)
	want.Addresses = append(want.Addresses, e.Former...)
	lead := func() error { return d.putNeighbours(bridge.Index, e) }
	finish, err := d.regard(e)
	if err == nil {
		err = ns.Readdress(want, e.MAC, lead)
	}
	if err == nil {
		d.announcer.Stop(e.ID)
		d.announcer.Announce(ns, n, e)
		err = errors.Join(lead(), finish())
	}
	for _, p := range gone {
		err = errors.Join(err, d.host.DeleteNeighbour(bridge.Index, p.Addr()))
	}
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot renew "+e.Interface)
}

func (d *Driver) portOf(n network.Network, owner string, e network.Endpoint) kernel.Port {
	return kernel.Port{Name: e.HostInterface, Alias: network.Alias(n.ID, owner), Isolated: !n.InterContainer, Locked: d.ports != nil}
}

// inside is how the endpoint's end in the container shall be.
func inside(n network.Network, e network.Endpoint) kernel.Interface {
	i := driver.ContainerInterface(e)
	for _, p := range n.AllPools() { // the host's own address; a foreign gateway's MAC is not ours to know
		if !slices.Contains(n.HostAddresses(), p.HostPrefix()) {
			continue
		}
		i.Neighbours = append(i.Neighbours, kernel.Neighbour{Addr: p.Gateway, MAC: n.BridgeMAC()})
	}
	return i
}

func (d *Driver) putNeighbours(bridge int, e network.Endpoint) error {
	for _, p := range e.AllAddresses() {
		if err := d.host.PutNeighbour(bridge, kernel.Neighbour{Addr: p.Addr(), MAC: e.MAC}); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) dropNeighbours(bridge int, e network.Endpoint) error {
	var errs []error
	for _, p := range e.AllAddresses() {
		errs = append(errs, d.host.DeleteNeighbour(bridge, p.Addr()))
	}
	return errors.Join(errs...)
}
