package kernel

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Readdress replaces the addresses, the MAC and the neighbour entries of an interface that is up.
// Link-local addresses stay, and a nil mac keeps the current one. New addresses are added before
// old ones are removed. moved is called after the MAC has changed, when frames to the old MAC are
// lost until other hosts update their neighbour entries. Default routes and i.Gateways are ignored.
func (n *Namespace) Readdress(i Interface, mac net.HardwareAddr, moved func() error) error {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(i.Name) })
	if err != nil {
		return fmt.Errorf("look up %s: %w", i.Name, err)
	}

	index := link.Attrs().Index
	if slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		if err := enableIPv6(i.Name); err != nil {
			return err
		}
	}

	for _, p := range i.Addresses {
		if err := addAddress(n.handle, index, p); err != nil {
			return err
		}
	}

	if mac != nil && !bytes.Equal(link.Attrs().HardwareAddr, mac) {
		if err := retry(func() error { return n.handle.LinkSetHardwareAddr(link, mac) }); err != nil {
			return fmt.Errorf("set MAC of %s: %w", i.Name, err)
		}
		if err := moved(); err != nil {
			return err
		}
	}

	for _, neighbour := range i.Neighbours {
		if err := putNeighbour(n.handle, index, neighbour); err != nil {
			return err
		}
	}

	return n.keepAddresses(link, i.Addresses)
}

// keepAddresses removes all addresses except those in keep and link-local ones.
func (n *Namespace) keepAddresses(link netlink.Link, keep []netip.Prefix) error {
	have, err := retried(func() ([]netlink.Addr, error) { return n.handle.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}

	var gone []netip.Prefix
	for _, a := range have {
		if p := prefixOf(a.IPNet); !slices.Contains(keep, p) && !p.Addr().IsLinkLocalUnicast() {
			gone = append(gone, p)
		}
	}
	return n.dropAddresses(link, gone)
}

// dropAddresses removes addresses. It ignores addresses that the interface does not have.
func (n *Namespace) dropAddresses(link netlink.Link, gone []netip.Prefix) error {
	// Otherwise the kernel deletes the secondary addresses of a subnet with the primary one.
	promote := Sysctl{"net/ipv4/conf/" + link.Attrs().Name + "/promote_secondaries", "1"}
	for _, p := range gone {
		if err := promote.write(); err != nil {
			return err
		}
		err := retry(func() error { return n.handle.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)}) })
		if err != nil && !missing(err) {
			return fmt.Errorf("remove address %s from %s: %w", p, link.Attrs().Name, err)
		}
	}
	return nil
}

// enableIPv6 enables IPv6 on an interface of the thread's namespace.
func enableIPv6(name string) error {
	s := Sysctl{"net/ipv6/conf/" + name + "/disable_ipv6", "0"}
	return s.write()
}
