package wireguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeProtocol marks the routes to blocks, for administrators. It is that of the VXLAN device too.
const routeProtocol = 70

// attempts bounds the repetition of interrupted dumps.
const attempts = 20

// SyncRoutes makes want the routes through some devices and returns the changes. A route is moved from
// one device to another in one step. Errors of one route do not affect the others.
func (h *Host) SyncRoutes(devices []string, want []Route) (changes []string, err error) {
	s, err := h.open()
	if err != nil {
		return nil, err
	}
	defer s.close()

	indexes, have := map[string]int{}, map[netip.Prefix]netlink.Route{}
	for _, name := range devices {
		link, err := s.links.LinkByName(name)
		if missing(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", name, err)
		}
		indexes[name] = link.Attrs().Index
		all, err := s.routesOf(link.Attrs().Index)
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			have[prefixOf(*r.Dst)] = r
		}
	}

	for _, w := range want {
		old, exists := have[w.To]
		delete(have, w.To)
		index, ok := indexes[w.Device]
		if !ok {
			err = errors.Join(err, fmt.Errorf("route to %s: no device %s", w.To, w.Device))
			continue
		}
		if exists && old.LinkIndex == index {
			continue
		}
		put := s.links.RouteAdd // fails if another program has a route to the block
		if exists {
			put = s.links.RouteReplace
		}
		if perr := put(w.route(index)); perr != nil {
			err = errors.Join(err, fmt.Errorf("route to %s: %w", w.To, perr))
		}
		changes = append(changes, "route to "+w.To.String()+" through "+w.Device)
	}

	for to, r := range have {
		if derr := s.links.RouteDel(&r); derr != nil && !missing(derr) {
			err = errors.Join(err, fmt.Errorf("delete route to %s: %w", to, derr))
		}
		changes = append(changes, "removed route to "+to.String())
	}
	return changes, err
}

func (r Route) route(index int) *netlink.Route {
	return &netlink.Route{LinkIndex: index, Protocol: routeProtocol, Scope: unix.RT_SCOPE_LINK,
		Dst: &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), r.To.Addr().BitLen())}}
}

// routesOf returns the routes through a link, except those of link-local and multicast addresses.
func (s sockets) routesOf(index int) (all []netlink.Route, err error) {
	for range attempts {
		all, err = s.links.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: index},
			netlink.RT_FILTER_OIF)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list routes of link %d: %w", index, err)
	}
	return slices.DeleteFunc(all, func(r netlink.Route) bool {
		return r.Dst == nil || r.Dst.IP.IsLinkLocalUnicast() || r.Dst.IP.IsMulticast()
	}), nil
}
