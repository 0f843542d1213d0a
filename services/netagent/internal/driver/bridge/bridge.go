// Package bridge is the driver of bridge networks. It creates the Linux bridge, the veth pairs that
// attach sandboxes to it, and the permanent neighbour entries on both sides.
//
// It allocates no addresses and writes no firewall rules except those of the port guard. It keeps
// no state except a list of veth pairs to delete. Packages attach, bringup and sandbox
// call it through its contract.
package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
)

// MaxPorts is the kernel's limit of ports for a bridge.
const MaxPorts = 1023

// Driver implements bridge networks on a host.
type Driver struct {
	host      *kernel.Host
	ports     *portguard.Guard
	pending   pendingDeletes
	announcer *driver.Announcer
}

// New returns the driver of a host. With a nil guard, ports have no port guard.
func New(host *kernel.Host, ports *portguard.Guard) *Driver {
	return &Driver{host: host, ports: ports, pending: pendingDeletes{wake: notify.NewSignal()},
		announcer: driver.NewAnnouncer()}
}

// EnsureNetwork creates or reconciles the network's bridge. It returns the changes and whether the
// bridge is new. It allows loopback connections to containers only if guarded: when natagent has
// the network's rules.
func (d *Driver) EnsureNetwork(n network.Network, guarded bool) (changes []string, created bool, err error) {
	want := kernel.Bridge{Name: n.Bridge().Device, MTU: n.Spec.MTU, Addresses: n.HostAddresses()}
	// the default name always belongs to a container bridge
	want.Adopted = n.Status.AdoptedBridge && n.Bridge().Device != network.DefaultBridgeName
	// the gateway of the first pool, IPv4 if there is one
	if len(n.Spec.Pools) > 0 && (!want.Adopted || len(want.Addresses) > 0) {
		want.MAC = n.BridgeMAC()
	}
	if !want.Adopted {
		want.Alias = n.BridgeAlias()
	}

	changes, created, err = d.host.EnsureBridge(want)
	if errors.Is(err, kernel.ErrNotBridge) {
		return changes, false, fault.New(fault.Busy, n.Subject(), err.Error(),
			fault.WithHint("rename or delete that link, or choose another name with --bridge"))
	}

	if err == nil && d.ports != nil {
		err = d.ports.PutBridge(guardedBridge(n))
	}

	if err == nil && guarded && !n.Spec.Internal {
		var done []string
		done, err = d.host.EnableRouteLocalnet(n.Bridge().Device, n.HasIPv6())
		changes = append(changes, done...)
	}

	if err == nil && n.IsGlobal() {
		var done []string
		done, err = d.answerForOthers(n.Bridge().Device)
		changes = append(changes, done...)
	}

	return changes, created, fault.Wrap(err, fault.Internal, n.Subject(), "cannot create bridge")
}

// DeleteNetwork deletes the network's bridge, or removes the network's addresses from an adopted one.
func (d *Driver) DeleteNetwork(n network.Network) error {
	link, ok, err := d.host.Link(n.Bridge().Device)
	switch {
	case err != nil || !ok || link.Kind != "bridge":
	case n.Status.AdoptedBridge:
		err = errors.Join(d.host.RemoveAddresses(n.Bridge().Device, n.HostAddresses()),
			d.host.DisableRouteLocalnet(n.Bridge().Device))
	default:
		err = d.host.DeleteLink(link.Index)
	}

	if d.ports != nil {
		err = errors.Join(err, d.ports.DropBridge(n.Bridge().Device))
	}

	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot delete bridge")
}

// Complete fills in the fields of an endpoint that this driver defines.
func (d *Driver) Complete(n network.Network, e endpoint.Endpoint) endpoint.Endpoint {
	e.HostInterface, e.Bridge = endpoint.HostInterface(e.ID), n.Bridge().Device
	return e
}

// Attach attaches an endpoint. If it fails, the veth pair is deleted with its namespace.
func (d *Driver) Attach(ns *kernel.Namespace, n network.Network, owner string, e endpoint.Endpoint) error {
	bridge, ok, err := d.host.Link(n.Bridge().Device)
	if err != nil || !ok {
		return fault.New(fault.Unavailable, n.Subject(), "bridge "+n.Bridge().Device+" does not exist",
			fault.WithCause(err),
			fault.WithHint("it is being recreated, retry"))
	}

	guard := make(chan error, 1)
	go func() { guard <- d.guardPort(e) }() // concurrently with the creation of the pair, as both take about as long
	err = d.host.AddVeth(kernel.Veth{Name: e.HostInterface, MAC: endpoint.HostMAC(e.ID), Peer: e.Interface,
		PeerMAC: e.MAC,
		MTU:     n.Spec.MTU, Bridge: bridge.Index}, ns)
	if errors.Is(err, syscall.EXFULL) {
		<-guard
		d.unguard(e)
		return fault.New(fault.Exhausted, n.Subject(),
			fmt.Sprintf("all %d ports of bridge %s are in use", MaxPorts, n.Bridge().Device),
			fault.WithHint("use another network, the kernel allows no more ports"))
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

	if err == nil && e.IsLimited() {
		_, err = d.shape(ns, e)
	}

	if err == nil {
		err = d.host.WaitCarrier(n.Bridge().Device, e.HostInterface, ns, e.Interface)
	}

	if err != nil {
		_ = d.dropNeighbours(bridge.Index, e) // the first error is the one to report
		d.unguard(e)
		return driver.AttachFault(n, e, err)
	}

	d.announcer.Announce(ns, n, e)
	return nil
}

// Detach disables an endpoint, so that its addresses can be allocated again immediately. The veth
// pair is deleted with its namespace, or by RunLinkGC if a process keeps the namespace. It does
// nothing if the endpoint does not exist.
func (d *Driver) Detach(n network.Network, sb endpoint.Sandbox, e endpoint.Endpoint) error {
	d.announcer.Stop(e.ID)
	err := d.host.DisablePort(e.HostInterface, e.MAC)
	bridge, ok, lookErr := d.host.Link(e.Bridge)
	if err = errors.Join(err, lookErr); ok {
		err = errors.Join(err, d.dropNeighbours(bridge.Index, e))
	}
	d.pending.add(e.HostInterface, endpoint.Alias(n.ID, sb.Owner))
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot detach "+e.HostInterface)
}

// Remove detaches an endpoint from a namespace that remains. The veth pair is deleted when it
// returns.
func (d *Driver) Remove(n network.Network, sb endpoint.Sandbox, e endpoint.Endpoint) error {
	err := d.Detach(n, sb, e)
	link, ok, lookErr := d.host.Link(e.HostInterface)
	if err = errors.Join(err, lookErr); ok && (link.Alias == endpoint.Alias(n.ID, sb.Owner) || unfinished(link)) {
		err = errors.Join(err, d.host.DeleteLink(link.Index))
	}
	d.pending.drop(e.HostInterface) // deleted, or kept in use
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot remove "+e.HostInterface)
}

func (d *Driver) portOf(n network.Network, owner string, e endpoint.Endpoint) kernel.Port {
	return kernel.Port{Name: e.HostInterface, Alias: endpoint.Alias(n.ID, owner), Isolated: !n.ICC(),
		Locked: d.ports != nil}
}

// inside returns the desired state of an endpoint's container end.
func inside(n network.Network, e endpoint.Endpoint) kernel.Interface {
	i := driver.ContainerInterface(e)
	for _, p := range n.AllPools() { // the host's own addresses; the MAC of another gateway is unknown
		if !slices.Contains(n.HostAddresses(), p.HostPrefix()) || !hasFamily(e, p.Gateway.Is6()) {
			continue
		}
		i.Neighbours = append(i.Neighbours, kernel.Neighbour{Addr: p.Gateway, MAC: n.BridgeMAC()})
	}
	if n.IsGlobal() {
		return throughGateway(n, i)
	}
	return i
}

// hasFamily reports whether an endpoint has an address of a family. An interface without one has no
// neighbour entries of it. A network can get IPv6 before its endpoints.
func hasFamily(e endpoint.Endpoint, ipv6 bool) bool {
	return slices.ContainsFunc(e.AllAddresses(), func(p netip.Prefix) bool { return p.Addr().Is6() == ipv6 })
}

func (d *Driver) putNeighbours(bridge int, e endpoint.Endpoint) error {
	for _, p := range e.AllAddresses() {
		if err := d.host.PutNeighbour(bridge, kernel.Neighbour{Addr: p.Addr(), MAC: e.MAC}); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) dropNeighbours(bridge int, e endpoint.Endpoint) error {
	var errs []error
	for _, p := range e.AllAddresses() {
		errs = append(errs, d.host.DeleteNeighbour(bridge, p.Addr()))
	}
	return errors.Join(errs...)
}
