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
	if errors.Is(err, unix.EEXIST) && p.Addr().Is6() {
		err = lengthen(handle, addr)
	}
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return wrap("add address "+p.String(), err)
}

// lengthen gives an IPv6 address that a link has another length. A link has it with one length only, other than an IPv4 address, so that
// it is away for a moment.
func lengthen(handle *netlink.Handle, addr *netlink.Addr) error {
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: addr.LinkIndex}}
	have, err := retried(func() ([]netlink.Addr, error) { return handle.AddrList(link, netlink.FAMILY_V6) })
	if err != nil {
		return err
	}
	want := prefixOf(addr.IPNet)
	for _, a := range have {
		if has := prefixOf(a.IPNet); has.Addr() != want.Addr() || has == want {
			continue
		}
		if err := retry(func() error { return handle.AddrDel(link, &a) }); err != nil && !missing(err) {
			return err
		}
		return retry(func() error { return handle.AddrAdd(nil, addr) })
	}
	return nil
}
