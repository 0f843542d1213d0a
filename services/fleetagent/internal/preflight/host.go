package preflight

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/proto/tunnel"
)

// TunnelPort is the UDP port of the packets between containers.
const TunnelPort = 4789

// minMTU is the smallest MTU of a network, which is that of IPv6.
const minMTU = 1280

// Underlay is the network of a host, as a fleet needs it.
type Underlay struct {
	MTU    int            // of the interface with the host's address
	Routes []netip.Prefix // destinations without default routes
}

// ReadUnderlay reads the network of this host.
func ReadUnderlay(address netip.Addr) (Underlay, error) {
	var u Underlay
	links, err := net.Interfaces()
	if err != nil {
		return u, fault.New(fault.Internal, "interfaces of this host", "cannot be read", fault.WithCause(err))
	}
	for _, l := range links {
		own, err := l.Addrs()
		if err != nil {
			continue // the interface was removed meanwhile
		}
		for _, a := range own {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == address {
				u.MTU = l.MTU
			}
		}
	}
	for path, parse := range map[string]func(string) (netip.Prefix, bool){
		"/proc/net/route": route4, "/proc/net/ipv6_route": route6} {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // a host without that family
		}
		u.Routes = append(u.Routes, routesIn(string(data), parse)...)
	}
	return u, nil
}

// CheckMTU refuses an interface whose packets are too small for a tunnel.
func (u Underlay) CheckMTU(address netip.Addr) error {
	extra := tunnel.Overhead(false, address.Is6())
	if need := minMTU + extra; u.MTU != 0 && u.MTU < need {
		return fault.New(fault.Invalid, "address "+address.String(), fmt.Sprintf(
			"its interface has an MTU of %d, and the networks of a fleet need %d: %d for packets, %d for the tunnel",
			u.MTU, need, minMTU, extra), fault.WithHint("raise the MTU, or use --address with another one"))
	}
	return nil
}

// CheckSpace refuses an address space of which no part is left outside of the routes of the host.
func (u Underlay) CheckSpace(space []netip.Prefix) error {
	for _, s := range space {
		for _, r := range u.Routes {
			if r.Bits() <= s.Bits() && r.Contains(s.Addr()) {
				return fault.New(fault.Conflict, "address space "+s.String(),
					"is inside of the route "+r.String()+" of this host, so that no network could have addresses of it",
					fault.WithHint("use --address-space with other private addresses"))
			}
		}
	}
	return nil
}

// Network is a network of a fleet that a host joins.
type Network struct {
	Name      string
	MTU       int
	Encrypted bool
	Subnets   []netip.Prefix
}

// Networks returns the networks of a fleet, without those that are being deleted.
func Networks(networks map[string]*fleetv1.OverlayNetwork) (all []Network) {
	for _, n := range networks {
		if n.GetDeleted() {
			continue
		}
		one := Network{Name: n.GetName(), MTU: int(n.GetMtu()), Encrypted: n.GetEncrypted()}
		for _, pool := range n.GetPools() {
			if s, err := netip.ParsePrefix(pool.GetSubnet()); err == nil {
				one.Subnets = append(one.Subnets, s)
			}
		}
		all = append(all, one)
	}
	return all
}

// Check refuses a host that could not have all networks of a fleet: its packets are too small, or its routes
// overlap. address is that of the host.
func (u Underlay) Check(host string, address netip.Addr, networks []Network) error {
	slices.SortFunc(networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range networks {
		extra := tunnel.Overhead(n.Encrypted, address.Is6())
		if need := n.MTU + extra; u.MTU != 0 && u.MTU < need {
			return fault.New(fault.Conflict, "host "+host,
				fmt.Sprintf("the interface of its address has an MTU of %d, "+
					"and network %s needs %d: %d for packets, %d for the tunnel", u.MTU, n.Name, need, n.MTU,
					extra),
				fault.WithHint("raise the MTU of the interface; or on a manager: fairlead network update --mtu %d %s",
					u.MTU-extra, n.Name))
		}
		for _, s := range n.Subnets {
			for _, r := range u.Routes {
				if r.Overlaps(s) {
					return fault.New(fault.Conflict, "host "+host, fmt.Sprintf("its route %s overlaps network %s (%s)",
						r, n.Name, s), fault.WithHint("remove the route, or use another subnet for what it belongs to"))
				}
			}
		}
	}
	return nil
}
