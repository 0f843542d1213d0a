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

// DHCPRoute is a route of a namespace, by one of its interfaces, that a LAN has told of. Such routes have a mark of their own (proto dhcp),
// by which they are known from those that the container has laid itself.
type DHCPRoute struct {
	Interface string
	To        netip.Prefix
	Via       netip.Addr // not valid: it is on the link itself
}

// dhcpProto marks them.
const dhcpProto = netlink.RouteProtocol(unix.RTPROT_DHCP)

// SetDHCPRoutes makes these be the only routes of their kind by some interfaces. They are laid in their order. Those that are there already
// are not touched, nor is one of another kind that leads to the same place.
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

// linkRoutes are those that are there.
func (n *Namespace) linkRoutes() ([]DHCPRoute, error) {
	all, err := retried(func() ([]netlink.Route, error) {
		return n.handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: dhcpProto}, netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var out []DHCPRoute
	for _, r := range all {
		link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByIndex(r.LinkIndex) })
		if missing(err) {
			continue // gone meanwhile, and its routes with it
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

// addRoute lays a route, in the place of another one that leads to the same place if there is one of the same kind.
func (n *Namespace) addRoute(index int, w DHCPRoute, another bool) error {
	do := n.handle.RouteAdd
	if another {
		do = n.handle.RouteReplace
	}
	err := retry(func() error { return do(w.on(index)) })
	if errors.Is(err, syscall.EEXIST) {
		err = nil // the container's own
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
	return wrap("take away the route to "+h.To.String(), err)
}

// on is the route as netlink has it.
func (w DHCPRoute) on(index int) *netlink.Route {
	r := &netlink.Route{LinkIndex: index, Dst: ipNet(w.To), Protocol: dhcpProto, Scope: netlink.SCOPE_UNIVERSE}
	if w.Via.IsValid() {
		r.Gw = net.IP(w.Via.AsSlice())
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}
