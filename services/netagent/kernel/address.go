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
	links, err := h.Links()
	if err != nil {
		return nil, err
	}
	has := map[int]bool{}
	for _, a := range addrs {
		if reachable(prefixOf(a.IPNet).Addr()) {
			has[a.LinkIndex] = true
		}
	}
	var names []string
	for _, l := range links {
		if has[l.Index] {
			names = append(names, l.Name)
		}
	}
	return names, nil
}

func reachable(a netip.Addr) bool {
	return a.IsValid() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}
