// Package network defines networks, their names and their validation. It also derives the predefined
// networks from the configuration. It performs no I/O. All packages of netagent use it; package
// endpoint defines what is attached to networks.
package network

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
)

// The network drivers.
const (
	DriverBridge = "bridge"
	DriverHost   = "host"
	DriverNull   = "null"

	// DriverOverlay connects the hosts of a fleet. It is not available on a host outside a fleet.
	DriverOverlay = "overlay"
)

// TunnelDevice is the link to the other hosts of the fleet.
const TunnelDevice = "fairlead-fleet"

// EncryptedDevices returns the names of the links to the other hosts of the fleet for encrypted
// networks: two, so that keys can be replaced.
func EncryptedDevices() []string { return []string{"fairlead-wg0", "fairlead-wg1"} }

// IsTunnel reports whether a link connects the hosts of the fleet.
func IsTunnel(link string) bool {
	return link == TunnelDevice || slices.Contains(EncryptedDevices(), link)
}

// blockCooldown is the time before another container gets a released address of an overlay network.
// Other hosts may still send traffic for the former one.
const blockCooldown = 30 * time.Second

// Network is a network that containers can connect to. Spec is what was requested, Status what
// follows from it.
type Network struct {
	ID        string
	Name      string
	Driver    string
	Scope     Scope
	Origin    Origin `json:",omitempty"`
	CreatedAt time.Time
	Spec      Spec
	Status    Status
}

// Pool is one subnet of a network with its special addresses.
type Pool struct {
	Subnet           netip.Prefix // without host bits
	Range            netip.Prefix // range of dynamic addresses; zero: all of Subnet
	GrowLimit        netip.Prefix // largest extension of Subnet; zero: fixed size
	Gateway          netip.Addr   // the host's address
	ContainerGateway netip.Addr   // next hop of the containers; zero: Gateway

	Aux map[string]netip.Addr // auxiliary addresses by name, not for containers
}

// ContainerGatewayAddr returns the next hop of the containers' default route.
func (p Pool) ContainerGatewayAddr() netip.Addr {
	if p.ContainerGateway.IsValid() {
		return p.ContainerGateway
	}
	return p.Gateway
}

// HostPrefix returns the host's address with the subnet's length, such as 172.17.0.1/16.
func (p Pool) HostPrefix() netip.Prefix { return netip.PrefixFrom(p.Gateway, p.Subnet.Bits()) }

// HasIPv4 reports whether containers get an IPv4 address.
func (n Network) HasIPv4() bool { return n.Spec.DHCP4 || n.hasFamily(netip.Addr.Is4) }

// HasIPv6 reports whether containers get an IPv6 address.
func (n Network) HasIPv6() bool { return n.Spec.DHCP6 || n.hasFamily(netip.Addr.Is6) }

func (n Network) hasFamily(is func(netip.Addr) bool) bool {
	return slices.ContainsFunc(n.Spec.Pools, func(p Pool) bool { return is(p.Subnet.Addr()) })
}

// HostAddresses returns the desired addresses of the network's bridge.
func (n Network) HostAddresses() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range n.AllPools() {
		if n.hostIsIn(p) {
			out = append(out, p.HostPrefix())
		}
	}
	return out
}

// hostIsIn reports whether the bridge has the pool's gateway address.
func (n Network) hostIsIn(p Pool) bool {
	return !(n.Bridge().InhibitIPv4 && p.Gateway.Is4()) && n.gatewayMode(p) != ModeIsolated
}

func (n Network) gatewayMode(p Pool) string {
	if p.Subnet.Addr().Is6() {
		return n.Bridge().IPv6.Mode
	}
	return n.Bridge().IPv4.Mode
}

// AllPools returns the current and former pools.
func (n Network) AllPools() []Pool { return slices.Concat(n.Spec.Pools, n.Status.Former) }

// BridgeAlias returns the alias of the network's bridge, by which it is found if another program renames it.
func (n Network) BridgeAlias() string { return "fairlead network " + n.ID }

// BridgeMAC returns the MAC address of the bridge. It is derived from the first gateway, IPv4 if
// possible. It stays the same after renumbering, because containers have permanent neighbour
// entries for it.
func (n Network) BridgeMAC() net.HardwareAddr {
	if n.Status.MAC != nil || len(n.Spec.Pools) == 0 {
		return n.Status.MAC
	}
	return MACOf(n.Spec.Pools[0].Gateway)
}

// UnprotectedSubnets returns the subnets in gateway mode nat-unprotected, which allow direct
// access.
func (n Network) UnprotectedSubnets() []netip.Prefix { return n.inMode(ModeUnprotected) }

// RoutedSubnets returns the subnets in gateway mode routed. They allow direct access to published
// ports and are not masqueraded.
func (n Network) RoutedSubnets() []netip.Prefix { return n.inMode(ModeRouted) }

func (n Network) inMode(mode string) (out []netip.Prefix) {
	for _, p := range n.AllPools() {
		if n.gatewayMode(p) == mode {
			out = append(out, p.Subnet)
		}
	}
	return out
}

// NeedsFirewall reports whether natagent must acknowledge the network before containers connect.
func (n Network) NeedsFirewall() bool { return n.Driver == DriverBridge || n.IsGlobal() && n.Status.Up }

// IsGlobal reports whether the network spans the hosts of a fleet.
func (n Network) IsGlobal() bool { return n.Scope == Global }

// IsOnHost reports whether the host needs the network: a global one only while it has containers.
func (n Network) IsOnHost() bool { return !n.IsGlobal() || n.Status.Up }

// Owns reports whether this host may allocate an address: on a global network those of its blocks.
func (n Network) Owns(addr netip.Addr) bool {
	return !n.IsGlobal() || slices.ContainsFunc(n.Status.Blocks, func(b netip.Prefix) bool { return b.Contains(addr) })
}

// blocksIn returns the blocks of this host in a pool, without those outside of its range. Blocks of
// one address come last: they were claimed for static addresses.
func blocksIn(n Network, p Pool) []netip.Prefix {
	all := []netip.Prefix{}
	for _, b := range n.Status.Blocks {
		if p.Subnet.Overlaps(b) && (!p.Range.IsValid() || p.Range.Overlaps(b)) {
			all = append(all, b)
		}
	}
	slices.SortStableFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Bits()/a.Addr().BitLen(), b.Bits()/b.Addr().BitLen()), a.Addr().Compare(b.Addr()))
	})
	return all
}

// String returns the name with the short id, such as bridge (1c0ffee12345).
func (n Network) String() string { return n.Name + " (" + id.Short(n.ID) + ")" }

// Subject returns the name of the network in faults.
func (n Network) Subject() string { return "network " + n.Name }

// Addresses converts a pool of the network for package ipam.
func (n Network) Addresses(p Pool) ipam.Pool {
	reserved := []netip.Addr{p.Gateway, p.ContainerGatewayAddr()}
	if len(n.Status.MAC) == MACLen { // the owner of that address would have the same MAC address
		reserved = append(reserved, netip.AddrFrom4([4]byte(n.Status.MAC[2:])))
	}
	for _, a := range p.Aux {
		reserved = append(reserved, a)
	}
	out := ipam.Pool{Subnet: p.Subnet, Reserved: reserved}
	if n.IsGlobal() {
		out.Ranges, out.Cooldown = blocksIn(n, p), blockCooldown
	} else if p.Range.IsValid() {
		out.Ranges = []netip.Prefix{p.Range}
	}
	return out
}

// ByFamily groups pools by family, IPv4 first. Families without pools are left out.
func ByFamily(pools []Pool) [][]Pool {
	var out [][]Pool
	for _, is6 := range []bool{false, true} {
		var some []Pool
		for _, p := range pools {
			if p.Subnet.Addr().Is6() == is6 {
				some = append(some, p)
			}
		}
		if len(some) > 0 {
			out = append(out, some)
		}
	}

	return out
}
