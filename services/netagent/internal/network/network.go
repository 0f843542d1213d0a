// Package network says what networks, sandboxes and endpoints are, how they are named, and what the configuration makes of the
// predefined ones. It is pure: it neither touches the kernel nor remembers anything.
package network

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
)

// The drivers that a network can have.
const (
	DriverBridge = "bridge"
	DriverHost   = "host"
	DriverNull   = "null"

	// DriverOverlay makes networks that span the hosts of a fleet, and none on a host that is in no fleet.
	DriverOverlay = "overlay"
)

// Network is something that containers can be attached to.
type Network struct {
	ID             string
	Name           string
	Driver         string
	Predefined     bool
	Pools          []Pool // at most one a family for a bridge
	Bridge         string // the bridge's device name; empty for other drivers
	MTU            int
	Masquerade     bool
	InterContainer bool
	CreatedAt      time.Time

	Internal      bool              // nothing enters or leaves
	Labels        map[string]string // what its maker wrote on it
	Options       map[string]string // the driver options as they were given
	HostBinding   netip.Addr        // where ports are published without an address; not valid means on all
	Prefix        string            // of interfaces' names inside; empty means DefaultPrefix
	InhibitIPv4   bool              // the bridge does not get the IPv4 gateway's address
	AdoptedBridge bool              // the bridge was there before, and stays

	DNS []netip.Addr // what its containers' questions are passed on to; none: what is configured

	Former        []Pool           // pools of before, of which containers still have addresses
	FormerSubnets []netip.Prefix   // all subnets that it has had: who asks for an address there by number means its place in the pool of today
	Renumbering   bool             // containers that have addresses of former pools are to get new ones
	MAC           net.HardwareAddr // of its bridge since it was renumbered, as neighbours know it; nil: the gateway's

	ConfigOnly bool   // it only holds a configuration for others
	ConfigFrom string // the name of the network that its configuration was taken from

	GatewayMode4      string // of a bridge: how others reach its containers over IPv4; empty means nat
	GatewayMode6      string
	TrustedInterfaces []string   // of a bridge: by these others reach its containers at their own addresses
	Source4           netip.Addr // what leaves a bridge takes it; not valid: the address of the interface it leaves by
	Source6           netip.Addr

	AnnounceTimes *int `json:",omitempty"` // how often neighbours are told of an endpoint's addresses; nil: the default
	AnnounceEvery *int `json:",omitempty"` // the time between in milliseconds

	Parent string // of macvlan and ipvlan: the host's link that its interfaces are on
	Mode   string // of macvlan and ipvlan
	Flag   string // of ipvlan
	NoShim bool   // of macvlan and ipvlan: the host itself has no way to its containers

	NoProbe bool // of macvlan and ipvlan: addresses are taken without asking the LAN who has them

	DHCP4 bool `json:",omitempty"` // IPv4 addresses come from the LAN's DHCP server
	DHCP6 bool `json:",omitempty"` // IPv6 addresses come from the LAN's DHCPv6 server, or are made up of what its router advertises
}

// Pool is one subnet of a network.
type Pool struct {
	Subnet           netip.Prefix // without host bits
	Range            netip.Prefix // where automatic addresses come from; not valid means all of Subnet
	GrowLimit        netip.Prefix // as far as this it grows when its addresses run out; not valid: it stays as it is
	Gateway          netip.Addr   // the host's own address
	ContainerGateway netip.Addr   // what containers are told; not valid means Gateway

	Aux map[string]netip.Addr // addresses that no container gets, by the names that the network's maker gave them
}

// ContainerGatewayAddr is the gateway that containers are told.
func (p Pool) ContainerGatewayAddr() netip.Addr {
	if p.ContainerGateway.IsValid() {
		return p.ContainerGateway
	}
	return p.Gateway
}

// HostPrefix is the host's own address with the subnet's length: 172.17.0.1/16.
func (p Pool) HostPrefix() netip.Prefix { return netip.PrefixFrom(p.Gateway, p.Subnet.Bits()) }

// HasIPv4 tells whether containers get an IPv4 address.
func (n Network) HasIPv4() bool { return n.DHCP4 || n.hasFamily(netip.Addr.Is4) }

// HasIPv6 tells whether containers get an IPv6 address.
func (n Network) HasIPv6() bool { return n.DHCP6 || n.hasFamily(netip.Addr.Is6) }

func (n Network) hasFamily(is func(netip.Addr) bool) bool {
	return slices.ContainsFunc(n.Pools, func(p Pool) bool { return is(p.Subnet.Addr()) })
}

// HostAddresses are what the network's bridge has.
func (n Network) HostAddresses() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range n.AllPools() {
		if n.hostIsIn(p) {
			out = append(out, p.HostPrefix())
		}
	}
	return out
}

// hostIsIn tells whether the bridge has the pool's gateway address.
func (n Network) hostIsIn(p Pool) bool {
	return !(n.InhibitIPv4 && p.Gateway.Is4()) && n.gatewayMode(p) != ModeIsolated
}

func (n Network) gatewayMode(p Pool) string {
	if p.Subnet.Addr().Is6() {
		return n.GatewayMode6
	}
	return n.GatewayMode4
}

// AllPools are those that it has, and those that containers still have addresses of.
func (n Network) AllPools() []Pool { return slices.Concat(n.Pools, n.Former) }

// BridgeMAC is the hardware address of its bridge: it follows the first gateway, IPv4 where there is any, and stays when the network
// is renumbered, as containers know it by permanent entries.
func (n Network) BridgeMAC() net.HardwareAddr {
	if n.MAC != nil || len(n.Pools) == 0 {
		return n.MAC
	}
	return MACOf(n.Pools[0].Gateway)
}

// UnprotectedSubnets are the subnets whose containers anybody may reach at their own addresses.
func (n Network) UnprotectedSubnets() []netip.Prefix { return n.inMode(ModeUnprotected) }

// RoutedSubnets are the subnets whose containers are reached at their own addresses by their published ports, and leave with them.
func (n Network) RoutedSubnets() []netip.Prefix { return n.inMode(ModeRouted) }

func (n Network) inMode(mode string) (out []netip.Prefix) {
	for _, p := range n.AllPools() {
		if n.gatewayMode(p) == mode {
			out = append(out, p.Subnet)
		}
	}
	return out
}

// NeedsFirewall tells whether natagent must know the network before anybody may be on it.
func (n Network) NeedsFirewall() bool { return n.Driver == DriverBridge }

// String is the name with the short id, as messages have it: bridge (1c0ffee12345).
func (n Network) String() string { return n.Name + " (" + id.Short(n.ID) + ")" }

// Subject is how faults name the network.
func (n Network) Subject() string { return "network " + n.Name }

// Addresses is one of the network's pools as package ipam knows it.
func (n Network) Addresses(p Pool) ipam.Pool {
	reserved := []netip.Addr{p.Gateway, p.ContainerGatewayAddr()}
	if len(n.MAC) == macLen { // whoever had the address that it follows would have it too
		reserved = append(reserved, netip.AddrFrom4([4]byte(n.MAC[2:])))
	}
	for _, a := range p.Aux {
		reserved = append(reserved, a)
	}
	return ipam.Pool{Subnet: p.Subnet, Range: p.Range, Reserved: reserved}
}
