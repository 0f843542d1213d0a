package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// HasInterface reports whether the namespace has an interface.
func (n *Namespace) HasInterface(name string) (bool, error) {
	_, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(name) })
	if missing(err) {
		return false, nil
	}
	return err == nil, wrap("look up "+name, err)
}

// Repair restores the MAC, addresses, routes and neighbour entries of an interface and sets it up.
// Addresses and routes that the container added stay, unless all of the interface's own addresses
// of that family are missing.
func (n *Namespace) Repair(i Interface, mac net.HardwareAddr) (changes []string, err error) {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(i.Name) })
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", i.Name, err)
	}

	index, attrs := link.Attrs().Index, link.Attrs()
	have, err := retried(func() ([]netlink.Addr, error) { return n.handle.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", i.Name, err)
	}

	lost := slices.DeleteFunc(slices.Clone(i.Addresses), func(p netip.Prefix) bool {
		return slices.ContainsFunc(have, func(a netlink.Addr) bool { return prefixOf(a.IPNet) == p })
	})
	if len(lost) > 0 || mac != nil && !bytes.Equal(attrs.HardwareAddr, mac) {
		if err := n.Readdress(i, mac, func() error { return nil }); err != nil {
			return nil, err
		}
		changes = append(changes, fmt.Sprintf("addresses %v of %s", lost, i.Name))
	}

	if attrs.Flags&net.FlagUp == 0 {
		if err := n.setUp(index); err != nil {
			return changes, fmt.Errorf("set %s up: %w", i.Name, err)
		}
		changes = append(changes, i.Name+" up")
		for _, p := range i.Addresses { // the kernel removes IPv6 addresses when an interface goes down
			if err := addAddress(n.handle, index, p); err != nil {
				return changes, err
			}
		}
	}

	routes, err := repairRoutes(n.handle, index, i.Name, i.Addresses, i.Gateways)
	changes = append(changes, routes...)
	for _, neighbour := range i.Neighbours {
		err = errors.Join(err, putNeighbour(n.handle, index, neighbour))
	}

	return changes, err
}

// repairRoutes adds missing routes to the subnets of addresses, and missing default routes.
func repairRoutes(handle *netlink.Handle, index int, name string, addresses []netip.Prefix,
	gateways []netip.Addr) (changes []string, err error) {
	have, err := retried(func() ([]netlink.Route, error) {
		return handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN},
			netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}

	hasRoute := func(to netip.Prefix, by int) bool {
		return slices.ContainsFunc(have, func(r netlink.Route) bool {
			is := prefixOf(r.Dst)
			if !is.IsValid() {
				is = netip.PrefixFrom(unspecified(r.Family), 0)
			}
			return is == to && (by == 0 || r.LinkIndex == by)
		})
	}
	var errs []error
	for _, p := range addresses {
		if p.IsSingleIP() || p.Addr().IsLinkLocalUnicast() || hasRoute(p.Masked(), index) {
			continue
		}
		errs = append(errs, addConnected(handle, index, p))
		changes = append(changes, fmt.Sprintf("route to %s by %s", p.Masked(), name))
	}

	for _, gw := range gateways {
		if hasRoute(netip.PrefixFrom(unspecified(familyOf(gw)), 0), 0) {
			continue
		}
		route := defaultVia(index, gw)
		errs = append(errs, wrap("default route via "+gw.String(), retry(func() error {
			return handle.RouteAdd(route)
		})))
		changes = append(changes, "default route via "+gw.String())
	}

	return changes, errors.Join(errs...)
}

func unspecified(family int) netip.Addr {
	if family == netlink.FAMILY_V6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// addConnected adds the route that the kernel adds with an address.
func addConnected(handle *netlink.Handle, index int, p netip.Prefix) error {
	route := &netlink.Route{LinkIndex: index, Dst: ipNet(p.Masked()), Protocol: unix.RTPROT_KERNEL}
	if p.Addr().Is4() {
		route.Scope, route.Src = netlink.SCOPE_LINK, p.Addr().AsSlice()
	} else {
		route.Priority = connectedMetric
	}
	err := retry(func() error { return handle.RouteAdd(route) })
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return wrap("route to "+p.Masked().String(), err)
}

// connectedMetric is the kernel's metric of IPv6 routes to the subnet of an interface.
const connectedMetric = 256
