package kernel

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// AddressedLinks are the names of the links that have an address of a family that others can reach: loopback and link-local
// ones do not count.
func (h *Host) AddressedLinks(ipv6 bool) ([]string, error) {
	family := netlink.FAMILY_V4
	if ipv6 {
		family = netlink.FAMILY_V6
	}
	addrs, err := retried(func() ([]netlink.Addr, error) { return h.handle.AddrList(nil, family) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	seen := map[int]bool{}
	var names []string
	for _, a := range addrs {
		if seen[a.LinkIndex] || !reachable(prefixOf(a.IPNet).Addr()) {
			continue
		}
		seen[a.LinkIndex] = true
		link, err := retried(func() (netlink.Link, error) { return h.handle.LinkByIndex(a.LinkIndex) })
		if missing(err) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("look up link %d: %w", a.LinkIndex, err)
		}
		names = append(names, link.Attrs().Name)
	}
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
	addrs, err := retried(func() ([]netlink.Addr, error) { return h.handle.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		out = append(out, prefixOf(a.IPNet))
	}
	return out, nil
}

func reachable(a netip.Addr) bool {
	return a.IsValid() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}
