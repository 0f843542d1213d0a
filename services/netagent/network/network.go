// Package network says what networks, sandboxes and endpoints are, how they are named, and what the configuration makes of the
// predefined ones. It is pure: it neither touches the kernel nor remembers anything.
package network

import (
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/agent/id"
)

// The drivers that a network can have.
const (
	DriverBridge = "bridge"
	DriverHost   = "host"
	DriverNull   = "null"
)

// Network is something that containers can be attached to.
type Network struct {
	ID             string
	Name           string
	Driver         string
	Predefined     bool
	Pools          []Pool // at most one a family
	Bridge         string // the bridge's device name; empty for other drivers
	MTU            int
	Masquerade     bool
	InterContainer bool
	CreatedAt      time.Time
}

// Pool is one subnet of a network.
type Pool struct {
	Subnet           netip.Prefix // without host bits
	Range            netip.Prefix // where automatic addresses come from; not valid means all of Subnet
	Gateway          netip.Addr   // the host's own address
	ContainerGateway netip.Addr   // what containers are told; not valid means Gateway
}

// RouteVia is the gateway that containers are told.
func (p Pool) RouteVia() netip.Addr {
	if p.ContainerGateway.IsValid() {
		return p.ContainerGateway
	}
	return p.Gateway
}

// HostPrefix is the host's own address with the subnet's length: 172.17.0.1/16.
func (p Pool) HostPrefix() netip.Prefix { return netip.PrefixFrom(p.Gateway, p.Subnet.Bits()) }

// HasIPv6 tells whether containers get an IPv6 address.
func (n Network) HasIPv6() bool {
	for _, p := range n.Pools {
		if p.Subnet.Addr().Is6() {
			return true
		}
	}
	return false
}

// String is the name with the short id, as messages have it: bridge (1c0ffee12345).
func (n Network) String() string { return n.Name + " (" + id.Short(n.ID) + ")" }

// Subject is how faults name the network.
func (n Network) Subject() string { return "network " + n.Name }
