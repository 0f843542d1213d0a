package kernel

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
)

func TestChangePrefixLenKeepsRoutes(t *testing.T) {
	testns.NeedRoot(t)
	err := NewNamespace(func(ns *Namespace) error {
		pair := netlink.NewLinkAttrs()
		pair.Name = "eth0"
		if err := ns.handle.LinkAdd(&netlink.Veth{LinkAttrs: pair, PeerName: "peer"}); err != nil {
			return err
		}
		i := Interface{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.5/24"),
			netip.MustParsePrefix("fd09::5/64")},
			Gateways:   []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd09::1")},
			Neighbours: []Neighbour{{Addr: netip.MustParseAddr("10.9.0.3"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 3}}}}
		if err := ns.Configure(i); err != nil {
			return err
		}
		link, err := ns.handle.LinkByName("eth0")
		if err != nil {
			return err
		}
		index := link.Attrs().Index
		want := []netip.Prefix{netip.MustParsePrefix("10.9.0.5/20"), netip.MustParsePrefix("fd09::5/48")}
		for _, p := range want { // as ipvlan rejects them
			if err := changePrefixLen(ns.handle, &netlink.Addr{IPNet: ipNet(p), LinkIndex: index,
				Flags: unix.IFA_F_NODAD}, unix.EADDRINUSE); err != nil {
				t.Errorf("%s: %v", p, err)
			}
		}
		other := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.9.0.6/24")), LinkIndex: index}
		// exactly this error
		if err := changePrefixLen(ns.handle, other, unix.EADDRINUSE); err != unix.EADDRINUSE { //nolint:errorlint
			t.Errorf("address of another link: %v", err)
		}

		all, err := ns.handle.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		var have []netip.Prefix
		for _, a := range all {
			if p := prefixOf(a.IPNet); !p.Addr().IsLinkLocalUnicast() {
				have = append(have, p)
			}
		}
		if !slices.Equal(have, want) {
			t.Errorf("got addresses %v, want %v", have, want)
		}
		routes := map[string]bool{}
		left, err := ns.handle.RouteList(link, netlink.FAMILY_ALL)
		for _, r := range left {
			routes[r.Gw.String()] = true
		}
		if err != nil || !routes["10.9.0.1"] || !routes["fd09::1"] {
			t.Errorf("got default routes %v, %v", left, err)
		}
		neighbours, err := ns.handle.NeighList(index, netlink.FAMILY_V4)
		if err != nil || !slices.ContainsFunc(neighbours, func(n netlink.Neigh) bool {
			return n.IP.String() == "10.9.0.3" && n.State == netlink.NUD_PERMANENT
		}) {
			t.Errorf("got neighbours %v, %v", neighbours, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
