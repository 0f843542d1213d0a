package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Route is where a route of the host leads, and by which link; empty for one without a link.
type Route struct {
	To   netip.Prefix
	Link string
}

// Routes answers the host's routes of its main table, but for default routes.
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

// RoutesBeside are Routes without those to prefixes that are known to have one. A prefix that has more keeps all of them.
func (h *Host) RoutesBeside(known map[netip.Prefix]bool) ([]Route, error) {
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
		var link Link // empty for one without a link, or whose link is gone
		if r.link != 0 {
			if link, _, err = h.LinkAt(r.link); err != nil {
				return nil, err
			}
		}
		out = append(out, Route{r.to, link.Name})
	}
	return out, nil
}

// RoutedPrefixes are the prefixes of Routes.
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

// RemoveAddresses takes addresses off a link. Those that it does not have are no error.
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
			errs = append(errs, fmt.Errorf("take address %s off %s: %w", p, link, err))
		}
	}
	return errors.Join(errs...)
}

// DefaultRoute is a way out of a namespace.
type DefaultRoute struct {
	Interface string
	Gateway   netip.Addr // unspecified: everything is on the link
}

// defaultVia is a default route by a link.
func defaultVia(index int, gateway netip.Addr) *netlink.Route {
	if !gateway.IsUnspecified() {
		return &netlink.Route{LinkIndex: index, Gw: net.IP(gateway.AsSlice())}
	}
	return &netlink.Route{LinkIndex: index, Dst: ipNet(netip.PrefixFrom(gateway, 0)), Scope: netlink.SCOPE_LINK, Family: familyOf(gateway)}
}

// SetDefaultRoutes makes these be the namespace's only default routes. Those that are there already are not touched.
func (n *Namespace) SetDefaultRoutes(want []DefaultRoute) error {
	have, err := retried(func() ([]netlink.Route, error) { return n.handle.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	there := map[DefaultRoute]bool{}
	var gone []netlink.Route
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
		gone = append(gone, r)
	}
	for _, w := range want { // in the place of what is to go, so that there is a way all the time
		if there[w] {
			continue
		}
		if err := n.putDefault(w); err != nil {
			return err
		}
	}
	for _, r := range gone {
		if err := retry(func() error { return n.handle.RouteDel(&r) }); err != nil && !missing(err) {
			return fmt.Errorf("delete default route via %s: %w", r.Gw, err)
		}
	}
	return nil
}

func (n *Namespace) defaultRoute(r netlink.Route) (DefaultRoute, error) {
	gw, ok := netip.AddrFromSlice(r.Gw)
	if !ok { // on the link
		if gw = netip.IPv4Unspecified(); r.Family == netlink.FAMILY_V6 {
			gw = netip.IPv6Unspecified()
		}
	}
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByIndex(r.LinkIndex) })
	if missing(err) {
		return DefaultRoute{Gateway: gw.Unmap()}, nil // gone meanwhile, and its routes with it
	}
	if err != nil {
		return DefaultRoute{}, fmt.Errorf("look up link %d: %w", r.LinkIndex, err)
	}
	return DefaultRoute{link.Attrs().Name, gw.Unmap()}, nil
}

func (n *Namespace) putDefault(w DefaultRoute) error {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(w.Interface) })
	if err != nil {
		return fmt.Errorf("look up %s: %w", w.Interface, err)
	}
	route := defaultVia(link.Attrs().Index, w.Gateway)
	return wrap("default route via "+w.Gateway.String(), retry(func() error { return n.handle.RouteReplace(route) }))
}
