package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeProtocol marks the routes to blocks, for administrators.
const routeProtocol = 70

// TunnelPeer is another host behind a tunnel.
type TunnelPeer struct {
	Underlay netip.Addr
	MAC      net.HardwareAddr // of its tunnel
	NextHops []netip.Addr     // addresses that stand for it as the next hop of routes
}

// TunnelRoute is the route to a block of addresses of another host.
type TunnelRoute struct {
	To  netip.Prefix
	Via netip.Addr // a next hop of its host; IPv6 is possible for IPv4 blocks
	Src netip.Addr // the source of packets of this host itself, such as ICMP errors; zero: any of its addresses
}

// SyncTunnel makes the entries and routes of the tunnel those of the peers and returns the changes.
// What is right is not touched. An error of one row does not affect the others. New entries come
// before new routes, and old routes are removed before old entries.
func (h *Host) SyncTunnel(name string, peers []TunnelPeer, routes []TunnelRoute) (changes []string, err error) {
	link, err := h.link(name)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}

	rows := entries{h, link.Attrs().Index}
	forwardings, ferr := rows.syncForwardings(peers)
	neighbours, nerr := rows.syncNeighbours(peers)
	added, rerr := rows.syncRoutes(routes)
	gone, gerr := rows.drop(peers)
	return slices.Concat(forwardings, neighbours, added, gone), errors.Join(ferr, nerr, rerr, gerr)
}

// entries are the rows of one link.
type entries struct {
	*Host
	index int
}

// syncForwardings writes missing FDB entries: the MAC of a host is behind its underlay address.
func (h entries) syncForwardings(peers []TunnelPeer) (changes []string, err error) {
	have, err := h.forwardings()
	if err != nil {
		return nil, err
	}

	for _, p := range peers {
		if slices.ContainsFunc(have, func(n netlink.Neigh) bool { return p.hasForwarding(n) }) {
			continue
		}
		entry := &netlink.Neigh{LinkIndex: h.index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT,
			Flags: netlink.NTF_SELF, HardwareAddr: p.MAC, IP: p.Underlay.AsSlice()}
		err = errors.Join(err, wrap("FDB entry "+p.MAC.String(), retry(func() error {
			return h.handle.NeighSet(entry)
		})))
		changes = append(changes, "FDB entry "+p.MAC.String()+" to "+p.Underlay.String())
	}

	return changes, err
}

func (p TunnelPeer) hasForwarding(n netlink.Neigh) bool {
	dst, _ := netip.AddrFromSlice(n.IP)
	return n.State&netlink.NUD_PERMANENT != 0 && sameMAC(n.HardwareAddr, p.MAC) && dst.Unmap() == p.Underlay
}

func (h entries) forwardings() ([]netlink.Neigh, error) {
	all, err := retried(func() ([]netlink.Neigh, error) { return h.handle.NeighList(h.index, unix.AF_BRIDGE) })
	return all, wrap("list FDB entries", err)
}

// syncNeighbours writes missing neighbour entries of next hops.
func (h entries) syncNeighbours(peers []TunnelPeer) (changes []string, err error) {
	have, err := h.Neighbours(h.index)
	if err != nil {
		return nil, err
	}

	for _, p := range peers {
		for _, hop := range p.NextHops {
			if slices.ContainsFunc(have, func(n Neighbour) bool { return n.Addr == hop && sameMAC(n.MAC, p.MAC) }) {
				continue
			}
			err = errors.Join(err, h.PutNeighbour(h.index, Neighbour{Addr: hop, MAC: p.MAC}))
			changes = append(changes, "neighbour "+hop.String())
		}
	}

	return changes, err
}

// drop removes the entries of removed hosts and foreign ones.
func (h entries) drop(peers []TunnelPeer) (changes []string, err error) {
	forwardings, ferr := h.forwardings()
	for _, n := range forwardings {
		if slices.ContainsFunc(peers, func(p TunnelPeer) bool { return p.hasForwarding(n) }) {
			continue
		}
		n.Flags = netlink.NTF_SELF
		if derr := retry(func() error { return h.handle.NeighDel(&n) }); derr != nil && !missing(derr) {
			err = errors.Join(err, fmt.Errorf("delete FDB entry %s: %w", n.HardwareAddr, derr))
		}
		changes = append(changes, "removed FDB entry "+n.HardwareAddr.String())
	}

	neighbours, nerr := h.Neighbours(h.index)
	for _, n := range neighbours {
		if !slices.ContainsFunc(peers, func(p TunnelPeer) bool { return slices.Contains(p.NextHops, n.Addr) }) {
			err = errors.Join(err, h.DeleteNeighbour(h.index, n.Addr))
			changes = append(changes, "removed neighbour "+n.Addr.String())
		}
	}

	return changes, errors.Join(err, ferr, nerr)
}

// syncRoutes makes want the routes of the link, except those of link-local addresses.
func (h entries) syncRoutes(want []TunnelRoute) (changes []string, err error) {
	all, err := retried(func() ([]netlink.Route, error) {
		return h.handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: h.index}, netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes of link %d: %w", h.index, err)
	}

	have := map[netip.Prefix]netlink.Route{}
	for _, r := range all {
		if to := prefixOf(r.Dst); !to.Addr().IsLinkLocalUnicast() && !to.Addr().IsMulticast() {
			have[to] = r
		}
	}

	for _, w := range want {
		old, exists := have[w.To]
		delete(have, w.To)
		if src, _ := netip.AddrFromSlice(old.Src); exists && nextHopOf(old) == w.Via && src.Unmap() == w.Src {
			continue
		}
		put := h.handle.RouteAdd // fails if another program has a route to the block
		if exists {
			put = h.handle.RouteReplace
		}
		err = errors.Join(err, wrap("route to "+w.To.String(), retry(func() error { return put(w.route(h.index)) })))
		changes = append(changes, "route to "+w.To.String())
	}

	for to, r := range have {
		if derr := retry(func() error { return h.handle.RouteDel(&r) }); derr != nil && !missing(derr) {
			err = errors.Join(err, fmt.Errorf("delete route to %s: %w", to, derr))
		}
		changes = append(changes, "removed route to "+to.String())
	}

	return changes, err
}

// route returns the kernel's form of a route. Next hops are not in a subnet of the link.
func (r TunnelRoute) route(index int) *netlink.Route {
	out := &netlink.Route{LinkIndex: index, Dst: ipNet(r.To), Src: r.Src.AsSlice(), Protocol: routeProtocol}
	switch {
	case r.To.Addr().Is4() && r.Via.Is6():
		out.Via = &netlink.Via{AddrFamily: netlink.FAMILY_V6, Addr: r.Via.AsSlice()}
		out.Flags = int(netlink.FLAG_ONLINK)
	default:
		out.Gw, out.Flags = r.Via.AsSlice(), int(netlink.FLAG_ONLINK)
	}
	return out
}

// nextHopOf returns the next hop of a route; zero: on-link.
func nextHopOf(r netlink.Route) netip.Addr {
	if via, ok := r.Via.(*netlink.Via); ok && via != nil {
		addr, _ := netip.AddrFromSlice(via.Addr)
		return addr
	}
	addr, _ := netip.AddrFromSlice(r.Gw)
	return addr.Unmap()
}
