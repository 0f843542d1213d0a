package network

import (
	"crypto/sha256"
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
)

// The IPAM drivers.
const (
	IPAMDefault = "default" // netagent allocates addresses from the network's pools
	IPAMDHCP    = "dhcp"    // DHCP servers or routers on the LAN assign addresses
)

// UsesDHCP reports whether any address family is assigned on the LAN.
func (n Network) UsesDHCP() bool { return n.Spec.DHCP4 || n.Spec.DHCP6 }

// IPAM returns the name of the network's IPAM driver.
func (n Network) IPAM() string {
	if n.UsesDHCP() {
		return IPAMDHCP
	}
	return IPAMDefault
}

// applyIPAM sets DHCP4 and DHCP6 according to the requested IPAM driver.
func (w Draft) applyIPAM(n *Network, ipv4, ipv6 bool) error {
	refuse := func(text, hint string) error {
		return fault.New(fault.Invalid, n.Subject(), text, fault.WithField("ipam_driver"), fault.WithHint("%s", hint))
	}

	switch {
	case w.IPAM == "" || w.IPAM == IPAMDefault:
		return nil
	case w.IPAM != IPAMDHCP:
		return refuse("ipam driver "+Quote(w.IPAM)+" not found", "use default or dhcp")
	case !n.OnLAN():
		return refuse("ipam driver dhcp requires a network on a LAN",
			"use -d macvlan, or -d ipvlan in mode l2, with -o parent=LINK")
	case len(w.Pools) > 0:
		return refuse("ipam driver dhcp does not accept subnet, ip-range, gateway or aux-address", "leave them out")
	}

	n.Spec.DHCP4, n.Spec.DHCP6 = ipv4, ipv6
	return nil
}

// DHCPClientMAC returns the MAC address of an owner's interface on a DHCP network. It is derived
// from the ids, so that DHCP servers recognize the client.
func DHCPClientMAC(networkID, owner string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(networkID + owner))
	return append(net.HardwareAddr{0x02}, sum[:5]...)
}

// UsesDHCPFor reports whether addresses of a's family are assigned on the LAN.
func (n Network) UsesDHCPFor(a netip.Addr) bool {
	return a.Is4() && n.Spec.DHCP4 || a.Is6() && n.Spec.DHCP6
}
