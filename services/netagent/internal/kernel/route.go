package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Route is the destination of a host route and the name of its link; empty for a route without a
// link.
type Route struct {
	To   netip.Prefix
	Link string
}

// Routes returns the host's routes in the main table, without default routes.
func (h *Host) Routes() ([]Route, error) {
	all, err := h.mainRoutes()
	if err != nil {
		return nil, err
	}

	names, err := h.names()
	if err != nil {
		return nil, err
	}

	out := make([]Route, len(all))
	for i, r := range all {
		out[i] = Route{r.to, names[r.link]}
	}

	return out, nil
}

// RoutesExcept returns Routes without the known prefixes, which are those of the networks' own bridges:
// it looks up the links of the other routes only. A known prefix with several routes keeps all of them,
// because one is not that of the bridge.
func (h *Host) RoutesExcept(known map[netip.Prefix]bool) ([]Route, error) {
	all, err := h.mainRoutes()
	if err != nil {
		return nil, err
	}

	count := map[netip.Prefix]int{}
	for _, r := range all {
		count[r.to]++
	}

	var out []Route
	for _, r := range all {
		if known[r.to] && count[r.to] == 1 {
			continue
		}
		var link Link // empty for a route without a link, or whose link was deleted
		if r.link != 0 {
			if link, _, err = h.LinkAt(r.link); err != nil {
				return nil, err
			}
		}
		out = append(out, Route{r.to, link.Name})
	}

	return out, nil
}

// RoutedPrefixes returns the destinations of Routes.
func (h *Host) RoutedPrefixes() ([]netip.Prefix, error) {
	all, err := h.mainRoutes()
	if err != nil {
		return nil, err
	}
	out := make([]netip.Prefix, len(all))
	for i, r := range all {
		out[i] = r.to
	}
	return out, nil
}

// RemoveAddresses removes addresses from a link. It ignores addresses that the link does not have.
func (h *Host) RemoveAddresses(link string, addrs []netip.Prefix) error {
	l, err := h.link(link)
	if missing(err) {
		return nil
	}

	if err != nil {
		return fmt.Errorf("look up %s: %w", link, err)
	}

	var errs []error
	for _, p := range addrs {
		err := retry(func() error { return h.handle.AddrDel(l, &netlink.Addr{IPNet: ipNet(p)}) })
		if err != nil && !missing(err) {
			errs = append(errs, fmt.Errorf("remove address %s from %s: %w", p, link, err))
		}
	}

	return errors.Join(errs...)
}

// DefaultRoute is a default route of a namespace.
type DefaultRoute struct {
	Interface string
	Gateway   netip.Addr // unspecified: on-link
}

// defaultVia returns a default route through a link.
func defaultVia(index int, gateway netip.Addr) *netlink.Route {
	if !gateway.IsUnspecified() {
		return &netlink.Route{LinkIndex: index, Gw: net.IP(gateway.AsSlice())}
	}
	return &netlink.Route{LinkIndex: index, Dst: ipNet(netip.PrefixFrom(gateway, 0)), Scope: netlink.SCOPE_LINK,
		Family: familyOf(gateway)}
}

// SetDefaultRoutes makes want the only default routes of the namespace. It keeps those that already
// exist.
func (n *Namespace) SetDefaultRoutes(want []DefaultRoute) error {
	have, err := retried(func() ([]netlink.Route, error) { return n.handle.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}

	there := map[DefaultRoute]bool{}
	var unwanted []netlink.Route
	for _, r := range have {
		if r.Dst != nil && prefixOf(r.Dst).Bits() != 0 {
			continue
		}
		d, err := n.defaultRoute(r)
		if err != nil {
			return err
		}
		if there[d] = true; slices.Contains(want, d) {
			continue
		}
		unwanted = append(unwanted, r)
	}

	for _, w := range want { // replaces the old route, so that a default route exists all the time
		if there[w] {
			continue
		}
		if err := n.putDefault(w); err != nil {
			return err
		}
	}

	for _, r := range unwanted {
		if err := retry(func() error { return n.handle.RouteDel(&r) }); err != nil && !missing(err) {
			return fmt.Errorf("delete default route via %s: %w", r.Gw, err)
		}
	}

	return nil
}

// defaultRoute converts a default route of the kernel.
func (n *Namespace) defaultRoute(r netlink.Route) (DefaultRoute, error) {
	gw, ok := netip.AddrFromSlice(r.Gw)
	if !ok { // on-link
		if gw = netip.IPv4Unspecified(); r.Family == netlink.FAMILY_V6 {
			gw = netip.IPv6Unspecified()
		}
	}

	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByIndex(r.LinkIndex) })
	if missing(err) {
		return DefaultRoute{Gateway: gw.Unmap()}, nil // the link was deleted meanwhile, with its routes
	}

	if err != nil {
		return DefaultRoute{}, fmt.Errorf("look up link %d: %w", r.LinkIndex, err)
	}

	return DefaultRoute{link.Attrs().Name, gw.Unmap()}, nil
}

// putDefault adds a default route, or replaces the one of the same family and metric.
func (n *Namespace) putDefault(w DefaultRoute) error {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(w.Interface) })
	if err != nil {
		return fmt.Errorf("look up %s: %w", w.Interface, err)
	}
	route := defaultVia(link.Attrs().Index, w.Gateway)
	return wrap("default route via "+w.Gateway.String(), retry(func() error { return n.handle.RouteReplace(route) }))
}
