package kernel

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Found is the actual state of an interface in a namespace.
type Found struct {
	Name      string
	Peer      int // index of the peer, in the peer's namespace
	MAC       net.HardwareAddr
	Addresses []netip.Prefix // without link-local addresses
	Gateways  []netip.Addr   // next hops of its default routes
}

// Pairs returns the veth interfaces of the namespace.
func (n *Namespace) Pairs() ([]Found, error) {
	links, err := retried(n.handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}

	var out []Found
	for _, l := range links {
		if l.Type() != "veth" {
			continue
		}
		f := Found{Name: l.Attrs().Name, Peer: l.Attrs().ParentIndex, MAC: l.Attrs().HardwareAddr}
		if f.Addresses, err = n.addressesOf(l); err != nil {
			return nil, err
		}
		if f.Gateways, err = n.gatewaysOf(l); err != nil {
			return nil, err
		}
		out = append(out, f)
	}

	return out, nil
}

func (n *Namespace) addressesOf(l netlink.Link) (out []netip.Prefix, err error) {
	addrs, err := retried(func() ([]netlink.Addr, error) { return n.handle.AddrList(l, unix.AF_UNSPEC) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	for _, a := range addrs {
		if p := prefixOf(a.IPNet); p.IsValid() && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p)
		}
	}
	return out, nil
}

func (n *Namespace) gatewaysOf(l netlink.Link) (out []netip.Addr, err error) {
	routes, err := retried(func() ([]netlink.Route, error) { return n.handle.RouteList(l, unix.AF_UNSPEC) })
	if err != nil {
		return nil, fmt.Errorf("list routes of %s: %w", l.Attrs().Name, err)
	}
	for _, r := range routes {
		if gw, ok := netip.AddrFromSlice(r.Gw); ok && (r.Dst == nil || prefixOf(r.Dst).Bits() == 0) {
			out = append(out, gw.Unmap())
		}
	}
	return out, nil
}
