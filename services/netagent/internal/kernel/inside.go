package kernel

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Addresses returns the addresses of the interfaces that are up, by interface name.
func (n *Namespace) Addresses() (map[string][]netip.Prefix, error) {
	links, err := retried(n.handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}

	out, names := map[string][]netip.Prefix{}, map[int]string{}
	for _, l := range links {
		if linkOf(l).Up {
			out[l.Attrs().Name], names[l.Attrs().Index] = nil, l.Attrs().Name
		}
	}

	all, err := retried(func() ([]netlink.Addr, error) { return n.handle.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}

	for _, a := range all {
		if name, ok := names[a.LinkIndex]; ok {
			out[name] = append(out[name], prefixOf(a.IPNet))
		}
	}

	return out, nil
}

// DefaultRoutes returns the default routes of the namespace.
func (n *Namespace) DefaultRoutes() ([]DefaultRoute, error) {
	all, err := retried(func() ([]netlink.Route, error) { return n.handle.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}

	var out []DefaultRoute
	for _, r := range all {
		if r.Dst != nil && prefixOf(r.Dst).Bits() != 0 {
			continue
		}
		d, err := n.defaultRoute(r)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}

	return out, nil
}
