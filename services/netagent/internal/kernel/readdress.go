package kernel

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Readdress makes an interface that is up have exactly the wanted addresses, beside link-local ones, a hardware address, nil for the one
// that it has, and neighbours. New addresses are there before others go. moved is called when the hardware address has just changed: what
// is sent to the one of before is lost until others know. Default routes are not its business, and i.Gateways does not count.
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

// keepAddresses takes off what is not to be kept, but for link-local addresses.
func (n *Namespace) keepAddresses(link netlink.Link, keep []netip.Prefix) error {
	have, err := retried(func() ([]netlink.Addr, error) { return n.handle.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	// Else the kernel takes others of the same subnet along with the first one.
	promote := Sysctl{"net/ipv4/conf/" + link.Attrs().Name + "/promote_secondaries", "1"}
	for _, a := range have {
		p := prefixOf(a.IPNet)
		if slices.Contains(keep, p) || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := promote.write(); err != nil {
			return err
		}
		if err := retry(func() error { return n.handle.AddrDel(link, &a) }); err != nil && !missing(err) {
			return fmt.Errorf("take address %s off %s: %w", p, link.Attrs().Name, err)
		}
	}
	return nil
}

// enableIPv6 switches IPv6 on on an interface of the thread's namespace that has been without.
func enableIPv6(name string) error {
	s := Sysctl{"net/ipv6/conf/" + name + "/disable_ipv6", "0"}
	return s.write()
}
