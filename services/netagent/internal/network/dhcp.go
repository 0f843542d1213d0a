package network

import (
	"crypto/sha256"
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// Who gives a network's containers their addresses.
const (
	IPAMDefault = "default" // netagent, out of the network's subnets
	IPAMDHCP    = "dhcp"    // the servers of the LAN that the containers are on
)

// UsesDHCP tells whether containers' addresses come from the LAN.
func (n Network) UsesDHCP() bool { return n.DHCP4 || n.DHCP6 }

// IPAM names who gives the network's addresses.
func (n Network) IPAM() string {
	if n.UsesDHCP() {
		return IPAMDHCP
	}
	return IPAMDefault
}

// leased has the network's addresses come from the LAN if that is wanted and can be.
func (w Spec) leased(n *Network, ipv4, ipv6 bool) error {
	refuse := func(text, hint string) error {
		return fault.New(fault.Invalid, n.Subject(), text, fault.WithField("ipam_driver"), fault.WithHint("%s", hint))
	}
	switch {
	case w.IPAM == "" || w.IPAM == IPAMDefault:
		return nil
	case w.IPAM != IPAMDHCP:
		return refuse("ipam driver "+quoteShort(w.IPAM)+" not found", "there are default and dhcp")
	case !n.OnLAN():
		return refuse("a "+n.Driver+" network like this is on no LAN that could have a DHCP server", "use -d macvlan, or -d ipvlan in mode l2, with -o parent=LINK")
	case len(w.Pools) > 0:
		return refuse("with --ipam-driver dhcp the LAN's servers decide on subnet, ip-range, gateway and aux-address", "leave them out")
	}
	n.DHCP4, n.DHCP6 = ipv4, ipv6
	return nil
}

// DHCPClientMAC is the hardware address of an owner's interface on a network whose addresses come from the LAN: it is there before any
// address is, and the same each time, as servers know their clients by it.
func DHCPClientMAC(networkID, owner string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(networkID + owner))
	return append(net.HardwareAddr{0x02}, sum[:5]...)
}

// UsesDHCPFor tells whether addresses of the family of this one come from the LAN.
func (n Network) UsesDHCPFor(a netip.Addr) bool { return a.Is4() && n.DHCP4 || a.Is6() && n.DHCP6 }

// WithLeases is the endpoint with what the LAN has granted it, nil for nothing.
func (e Endpoint) WithLeases(four, six *lease.Terms) Endpoint {
	e.Lease4, e.Lease6 = four, six
	e.IPv4, e.IPv6 = netip.Prefix{}, netip.Prefix{}
	if four != nil {
		e.IPv4 = four.Address
	}
	if six != nil {
		e.IPv6 = six.Address
	}
	return e
}

// Leases are what the LAN has granted the endpoint, IPv4 first.
func (e Endpoint) Leases() []lease.Terms {
	var out []lease.Terms
	for _, t := range []*lease.Terms{e.Lease4, e.Lease6} {
		if t != nil {
			out = append(out, *t)
		}
	}
	return out
}

// MTU is what the LAN says that its links can carry at most; 0 if it does not say.
func (e Endpoint) MTU() int {
	least := 0
	for _, t := range e.Leases() {
		if t.MTU > 0 && (least == 0 || t.MTU < least) {
			least = t.MTU
		}
	}
	return least
}

// Search are the search domains that the LAN has told.
func (e Endpoint) Search() []string {
	var told []string
	for _, t := range e.Leases() {
		told = append(told, t.Search...)
	}
	return lease.FilterSearch(told)
}

// NameServersFor are the name servers of an endpoint on the network: those that its maker names, or else those that the LAN has told.
func (n Network) NameServersFor(e Endpoint) []netip.Addr {
	if len(n.DNS) > 0 {
		return n.DNS
	}
	var out []netip.Addr
	for _, t := range e.Leases() {
		out = append(out, t.Servers...)
	}
	return out
}
