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

// Desired is the desired state of an interface, and what must happen on the way to it.
type Desired struct {
	Interface
	MAC  net.HardwareAddr // nil keeps the current one
	MTU  int              // 0 keeps the current one
	Gone []netip.Prefix   // addresses to remove
	// Prepare is called before an address is added or the MAC is changed, Moved after a change of the
	// MAC, when frames to the old one are lost until other hosts update their neighbour entries.
	Prepare, Moved func() error
}

// Repair makes an interface as desired: MAC, MTU, addresses, state, routes and neighbour entries.
// Addresses and routes that the container added stay, unless an address of the interface is missing.
func (n *Namespace) Repair(want Desired) (changes []string, err error) {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(want.Name) })
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", want.Name, err)
	}

	changes, err = n.repairAddresses(link, want)
	if err != nil {
		return changes, err
	}

	index, attrs := link.Attrs().Index, link.Attrs()
	if want.MTU != 0 && attrs.MTU != want.MTU {
		if err := setMTU(n.handle, link, want.MTU); err != nil {
			return changes, fmt.Errorf("set MTU of %s: %w", want.Name, err)
		}
		changes = append(changes, fmt.Sprintf("MTU %d of %s", want.MTU, want.Name))
	}

	if attrs.Flags&net.FlagUp == 0 {
		if err := n.setUp(index); err != nil {
			return changes, fmt.Errorf("set %s up: %w", want.Name, err)
		}
		changes = append(changes, want.Name+" up")
		for _, p := range want.Addresses { // the kernel removes IPv6 addresses when an interface goes down
			if err := addAddress(n.handle, index, p); err != nil {
				return changes, err
			}
		}
	}

	subnets, serr := n.addGatewayRoutes(index, want.Subnets)
	routes, err := repairRoutes(n.handle, index, want.Name, want.Addresses, want.Gateways)
	changes, err = slices.Concat(changes, subnets, routes), errors.Join(serr, err)
	for _, neighbour := range want.Neighbours {
		err = errors.Join(err, putNeighbour(n.handle, index, neighbour))
	}

	return changes, err
}

// repairAddresses makes the addresses and the MAC of an interface as desired.
func (n *Namespace) repairAddresses(link netlink.Link, want Desired) (changes []string, err error) {
	all, err := retried(func() ([]netlink.Addr, error) { return n.handle.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", want.Name, err)
	}

	have, lengths := map[netip.Prefix]bool{}, map[netip.Addr]bool{}
	for _, a := range all {
		p := prefixOf(a.IPNet)
		have[p], lengths[p.Addr()] = true, true
	}

	var lost, resized []netip.Prefix
	for _, p := range want.Addresses {
		switch {
		case !lengths[p.Addr()]:
			lost = append(lost, p)
		case !have[p]:
			resized = append(resized, p)
		}
	}

	if len(lost) > 0 || want.MAC != nil && !bytes.Equal(link.Attrs().HardwareAddr, want.MAC) {
		if err := want.Prepare(); err != nil {
			return nil, err
		}
		changes = append(changes, fmt.Sprintf("addresses %v of %s", lost, want.Name))
		return changes, n.Readdress(want.Interface, want.MAC, want.Moved)
	}

	if len(resized) > 0 {
		changes = append(changes, fmt.Sprintf("prefix lengths %v of %s", resized, want.Name))
		err = n.UpdateInterface(want.Name, resized, 0)
	}

	gone := slices.DeleteFunc(slices.Clone(want.Gone), func(p netip.Prefix) bool {
		return !have[p] || slices.Contains(want.Addresses, p)
	})
	if len(gone) > 0 && err == nil {
		changes = append(changes, fmt.Sprintf("removed addresses %v of %s", gone, want.Name))
		err = n.dropAddresses(link, gone)
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
