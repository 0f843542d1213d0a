package kernel

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
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
