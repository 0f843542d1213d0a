package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DHCPRoute is a route in a namespace that was received from a DHCP server or router. The kernel
// stores it with proto dhcp, which distinguishes it from routes that the container added.
type DHCPRoute struct {
	Interface string
	To        netip.Prefix
	Via       netip.Addr // zero: on-link
}

// dhcpProto is the protocol of these routes.
const dhcpProto = netlink.RouteProtocol(unix.RTPROT_DHCP)

// SetDHCPRoutes makes want the only DHCP routes of the given interfaces. It adds them in their
// order. Routes that already exist are kept, as are routes of other protocols to the same
// destination.
func (n *Namespace) SetDHCPRoutes(interfaces []string, want []DHCPRoute) error {
	have, err := n.linkRoutes()
	if err != nil {
		return err
	}

	have = slices.DeleteFunc(have, func(h DHCPRoute) bool { return !slices.Contains(interfaces, h.Interface) })
	for _, w := range want {
		if slices.Contains(have, w) {
			continue
		}
		link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(w.Interface) })
		if err != nil {
			return fmt.Errorf("look up %s: %w", w.Interface, err)
		}
		another := slices.ContainsFunc(have, func(h DHCPRoute) bool { return h.To == w.To })
		if err := n.addRoute(link.Attrs().Index, w, another); err != nil {
			return err
		}
		have = slices.DeleteFunc(have, func(h DHCPRoute) bool { return another && h.To == w.To })
	}

	for _, h := range have {
		if err := n.deleteRoute(h, want); err != nil {
			return err
		}
	}

	return nil
}

// linkRoutes returns the existing DHCP routes.
func (n *Namespace) linkRoutes() ([]DHCPRoute, error) {
	all, err := retried(func() ([]netlink.Route, error) {
		return n.handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: dhcpProto},
			netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}

	var out []DHCPRoute
	for _, r := range all {
		link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByIndex(r.LinkIndex) })
		if missing(err) {
			continue // the link was deleted meanwhile, with its routes
		}
		if err != nil {
			return nil, fmt.Errorf("look up link %d: %w", r.LinkIndex, err)
		}
		if r.Dst == nil {
			continue
		}
		via, _ := netip.AddrFromSlice(r.Gw)
		out = append(out, DHCPRoute{link.Attrs().Name, prefixOf(r.Dst), via.Unmap()})
	}

	return out, nil
}

// addRoute adds a route. With another set, it replaces a DHCP route to the same destination.
func (n *Namespace) addRoute(index int, w DHCPRoute, another bool) error {
	do := n.handle.RouteAdd
	if another {
		do = n.handle.RouteReplace
	}
	err := retry(func() error { return do(w.on(index)) })
	if errors.Is(err, syscall.EEXIST) {
		err = nil // a route that the container added
	}
	return wrap("route to "+w.To.String(), err)
}

func (n *Namespace) deleteRoute(h DHCPRoute, want []DHCPRoute) error {
	if slices.Contains(want, h) {
		return nil
	}
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(h.Interface) })
	if err == nil {
		err = retry(func() error { return n.handle.RouteDel(h.on(link.Attrs().Index)) })
	}
	if missing(err) {
		return nil
	}
	return wrap("delete route to "+h.To.String(), err)
}

// on returns the route as a netlink route through the link with an index.
func (w DHCPRoute) on(index int) *netlink.Route {
	r := &netlink.Route{LinkIndex: index, Dst: ipNet(w.To), Protocol: dhcpProto, Scope: netlink.SCOPE_UNIVERSE}
	if w.Via.IsValid() {
		r.Gw = net.IP(w.Via.AsSlice())
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}
