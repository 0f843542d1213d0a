package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AddressedLinks are the names of the links that have an address of a family that others can reach: loopback and link-local
// ones do not count.
func (h *Host) AddressedLinks(ipv6 bool) ([]string, error) {
	family := netlink.FAMILY_V4
	if ipv6 {
		family = netlink.FAMILY_V6
	}
	all, err := h.addressesBy(0, family)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	links, err := h.names()
	if err != nil {
		return nil, err
	}
	var names []string
	for index, addrs := range all {
		if name := links[index]; name != "" && slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return reachable(p.Addr()) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// BridgeAddresses are the addresses of the bridge with that name; none if there is no such bridge.
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

// addAddress gives a link an address, usable at once: nobody else can have it, so there is no duplicate address detection.
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

// changePrefixLen gives an address that a link has another length, where a link can have it with one length only: of IPv6, and on ipvlan. So it
// is away for a moment. If the link does not have it with another length, refused is why it cannot be added.
func changePrefixLen(handle *netlink.Handle, addr *netlink.Addr, refused error) error {
	want := prefixOf(addr.IPNet)
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: addr.LinkIndex}}
	have, err := retried(func() ([]netlink.Addr, error) { return handle.AddrList(link, familyOf(want.Addr())) })
	if err != nil {
		return err
	}
	i := slices.IndexFunc(have, func(a netlink.Addr) bool { return prefixOf(a.IPNet).Addr() == want.Addr() && prefixOf(a.IPNet) != want })
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

// withTempIPv4 changes a link's only IPv4 address, after which the kernel would forget its routes and neighbours: it has another one
// meanwhile, that nobody can have, and that is another one for each address.
func withTempIPv4(handle *netlink.Handle, link netlink.Link, addr netip.Addr, change func() error) error {
	const nobodys = 0xf0
	other := addr.As4()
	other[0] |= nobodys
	stay := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(netip.AddrFrom4(other), addr.BitLen()))}
	err := retry(func() error { return handle.AddrAdd(link, stay) })
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return errors.Join(change(), retry(func() error { return handle.AddrDel(link, stay) }))
}
