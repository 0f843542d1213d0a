package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AddressedLinks returns the names of links that have an address of a family. Loopback and
// link-local addresses do not count.
func (h *Host) AddressedLinks(ipv6 bool) ([]string, error) {
	family := netlink.FAMILY_V4
	if ipv6 {
		family = netlink.FAMILY_V6
	}

	all, err := h.addressesBy(0, family)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}

	// Few links have an address: most are bridge ports of containers, which a list of all links describes.
	var names []string
	for index, addrs := range all {
		if !slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return reachable(p.Addr()) }) {
			continue
		}
		link, ok, err := h.LinkAt(index)
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, link.Name)
		}
	}

	slices.Sort(names)
	return names, nil
}

// BridgeAddresses returns the addresses of a bridge; none if no bridge named name exists.
func (h *Host) BridgeAddresses(name string) ([]netip.Prefix, error) {
	link, err := h.link(name)
	if missing(err) || err == nil && link.Type() != "bridge" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}
	return h.addresses(link.Attrs().Index, netlink.FAMILY_ALL)
}

func reachable(a netip.Addr) bool {
	return a.IsValid() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}

// addAddress adds an address to a link without duplicate address detection. IPAM guarantees that
// the address is unique.
func addAddress(handle *netlink.Handle, index int, p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p), LinkIndex: index}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}

	err := retry(func() error { return handle.AddrAdd(nil, addr) })
	if errors.Is(err, unix.EEXIST) && p.Addr().Is6() || errors.Is(err, unix.EADDRINUSE) {
		err = changePrefixLen(handle, addr, err)
	}

	if errors.Is(err, unix.EEXIST) {
		return nil
	}

	return wrap("add address "+p.String(), err)
}

// changePrefixLen replaces an address of a link by the same address with another prefix length. It
// is for addresses that a link can only have once: IPv6 addresses, and all addresses on ipvlan. The
// address is missing for a moment. If the link does not have it with another length, refused is
// returned: the error of the attempt to add it.
func changePrefixLen(handle *netlink.Handle, addr *netlink.Addr, refused error) error {
	want := prefixOf(addr.IPNet)
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: addr.LinkIndex}}
	have, err := retried(func() ([]netlink.Addr, error) { return handle.AddrList(link, familyOf(want.Addr())) })
	if err != nil {
		return err
	}

	i := slices.IndexFunc(have, func(a netlink.Addr) bool {
		return prefixOf(a.IPNet).Addr() == want.Addr() && prefixOf(a.IPNet) != want
	})
	if i < 0 {
		return refused
	}

	change := func() error {
		if err := retry(func() error { return handle.AddrDel(link, &have[i]) }); err != nil && !missing(err) {
			return err
		}
		return retry(func() error { return handle.AddrAdd(nil, addr) })
	}
	if want.Addr().Is6() {
		return change()
	}

	return withTempIPv4(handle, link, want.Addr(), change)
}

// withTempIPv4 changes the only IPv4 address of a link. Without any address the kernel would delete
// the link's routes and neighbour entries, so the link gets a temporary one from 240.0.0.0/4
// meanwhile. The temporary address differs for each addr.
func withTempIPv4(handle *netlink.Handle, link netlink.Link, addr netip.Addr, change func() error) error {
	const reserved = 0xf0
	other := addr.As4()
	other[0] |= reserved
	stay := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(netip.AddrFrom4(other), addr.BitLen()))}
	err := retry(func() error { return handle.AddrAdd(link, stay) })
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return errors.Join(change(), retry(func() error { return handle.AddrDel(link, stay) }))
}
