package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Source is the preferred source address of a route.
type Source struct{ Addr netip.Addr }

// LinkLocal returns the link-local IPv6 address of a link; the zero address if it has none.
func (h *Host) LinkLocal(index int) (netip.Addr, error) {
	all, err := h.addresses(index, netlink.FAMILY_V6)
	for _, p := range all {
		if p.Addr().IsLinkLocalUnicast() {
			return p.Addr(), err
		}
	}
	return netip.Addr{}, err
}

// Addresses returns the addresses of a link, without loopback and link-local ones.
func (h *Host) Addresses(index int) ([]netip.Prefix, error) {
	all, err := h.addresses(index, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}

	var out []netip.Prefix
	for _, p := range all {
		if reachable(p.Addr()) {
			out = append(out, p)
		}
	}

	slices.SortFunc(out, netip.Prefix.Compare)
	return out, nil
}

// LinkWith returns the index of the link with an address; ok is false if there is none.
func (h *Host) LinkWith(a netip.Addr) (index int, ok bool, err error) {
	err = h.eachAddress(0, netlink.FAMILY_ALL, func() { index, ok = 0, false }, func(i int, p netip.Prefix, _ uint8) {
		if p.Addr() == a {
			index, ok = i, true
		}
	})
	return index, ok, wrap("list addresses", err)
}

// UsableAddresses returns the addresses of a link, without loopback, link-local and tentative ones.
// The kernel does not accept an IPv6 address as a route's source during duplicate address
// detection, or after it has failed.
func (h *Host) UsableAddresses(index int) ([]netip.Prefix, error) {
	var out []netip.Prefix
	err := h.eachAddress(index, netlink.FAMILY_ALL, func() { out = nil }, func(_ int, p netip.Prefix, flags uint8) {
		if reachable(p.Addr()) && flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC) != unix.IFA_F_TENTATIVE {
			out = append(out, p)
		}
	})
	slices.SortFunc(out, netip.Prefix.Compare)
	return out, wrap(fmt.Sprintf("list addresses of link %d", index), err)
}

// SetUp sets a link up.
func (h *Host) SetUp(name string) error {
	link, err := h.link(name)
	if err == nil {
		err = retry(func() error { return h.handle.LinkSetUp(link) })
	}
	return wrap("set "+name+" up", err)
}

// PutHostRoute adds or updates a host route to an address through a link. It does nothing if a
// route to the address exists through another link.
func (h *Host) PutHostRoute(link int, to netip.Addr, from Source) error {
	route := &netlink.Route{LinkIndex: link, Dst: ipNet(netip.PrefixFrom(to, to.BitLen())),
		Src: from.Addr.AsSlice(), Scope: netlink.SCOPE_LINK}
	have, err := retried(func() ([]netlink.Route, error) {
		return h.handle.RouteListFiltered(familyOf(to), &netlink.Route{Dst: route.Dst}, netlink.RT_FILTER_DST)
	})
	if err != nil {
		return fmt.Errorf("list routes to %s: %w", to, err)
	}

	if slices.ContainsFunc(have, func(r netlink.Route) bool { return r.LinkIndex != link }) {
		return nil
	}

	return wrap("route to "+to.String(), retry(func() error { return h.handle.RouteReplace(route) }))
}

// DeleteHostRoute deletes a host route. It does nothing if the route does not exist.
func (h *Host) DeleteHostRoute(link int, to netip.Addr) error {
	err := retry(func() error {
		return h.handle.RouteDel(&netlink.Route{LinkIndex: link, Dst: ipNet(netip.PrefixFrom(to, to.BitLen())),
			Scope: netlink.SCOPE_LINK})
	})
	if missing(err) {
		return nil
	}
	return wrap("delete route to "+to.String(), err)
}

// HostRoutes returns the destinations of the host routes through a link.
func (h *Host) HostRoutes(link int) ([]netip.Addr, error) {
	all, err := retried(func() ([]netlink.Route, error) {
		return h.handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: link}, netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes of link %d: %w", link, err)
	}

	var out []netip.Addr
	for _, r := range all {
		if p := prefixOf(r.Dst); p.IsValid() && p.IsSingleIP() {
			out = append(out, p.Addr())
		}
	}

	return out, nil
}

// SetNeighbours makes want the only permanent entries of an interface.
func (n *Namespace) SetNeighbours(name string, want []Neighbour) error {
	index, have, err := n.permanent(name)
	if err != nil {
		return err
	}

	var errs []error
	for _, old := range have {
		addr, _ := netip.AddrFromSlice(old.IP)
		if !slices.ContainsFunc(want, func(w Neighbour) bool { return w.Addr == addr.Unmap() }) {
			errs = append(errs, retry(func() error { return n.handle.NeighDel(&old) }))
		}
	}

	for _, w := range want {
		errs = append(errs, putNeighbour(n.handle, index, w))
	}

	return errors.Join(errs...)
}

// HasNeighbours reports whether want are the only permanent entries of an interface.
func (n *Namespace) HasNeighbours(name string, want []Neighbour) (bool, error) {
	_, have, err := n.permanent(name)
	if err != nil || len(have) != len(want) {
		return false, err
	}
	for _, h := range have {
		addr, _ := netip.AddrFromSlice(h.IP)
		if !slices.ContainsFunc(want, func(w Neighbour) bool {
			return w.Addr == addr.Unmap() && bytes.Equal(w.MAC, h.HardwareAddr)
		}) {
			return false, nil
		}
	}
	return true, nil
}

// permanent returns the index and the permanent unicast entries of an interface.
func (n *Namespace) permanent(name string) (index int, all []netlink.Neigh, err error) {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(name) })
	if err != nil {
		return 0, nil, fmt.Errorf("look up %s: %w", name, err)
	}

	index = link.Attrs().Index
	all, err = retried(func() ([]netlink.Neigh, error) { return n.handle.NeighList(index, netlink.FAMILY_ALL) })
	all = slices.DeleteFunc(all, func(e netlink.Neigh) bool {
		addr, _ := netip.AddrFromSlice(e.IP)
		return e.State != netlink.NUD_PERMANENT || e.HardwareAddr == nil || addr.IsMulticast()
	})
	return index, all, wrap("list neighbours of "+name, err)
}

// SupportsLink reports whether the kernel has a link type. It tries to create a link of that type
// without a parent, which a kernel that has the type rejects as invalid.
func (h *Host) SupportsLink(kind string) (bool, error) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
	err := h.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("fairlead-probe")), info)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	case errors.Is(err, unix.EINVAL):
		return true, nil
	}
	return err == nil, err
}
