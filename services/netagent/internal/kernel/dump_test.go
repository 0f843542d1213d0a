package kernel_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
)

func TestHostListsMatchKernel(t *testing.T) {
	testns.NeedRoot(t)
	ns, h := host(t)
	if all, err := h.Routes(); err != nil || len(all) > 0 { // the main table does not exist yet
		t.Errorf("routes of a new host: %v, %v", all, err)
	}
	ns.Run("sh", "-ec", `
		for b in one two; do ip link add $b type bridge; ip link set $b up; done
		ip addr add 10.1.0.1/16 dev one; ip addr add 10.1.0.9/16 dev one; ip addr add fd00:1::1/64 dev one nodad
		ip addr add 10.2.0.1/16 dev two; ip addr add 169.254.7.7/16 dev two
		ip neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev one nud permanent
		ip neigh add 10.1.0.3 lladdr 02:00:00:00:00:03 dev one nud stale
		ip neigh add fd00:1::2 lladdr 02:00:00:00:00:06 dev one nud permanent
		ip neigh add 10.2.0.2 lladdr 02:00:00:00:00:07 dev two nud permanent
		ip route add default via 10.1.0.9; ip route add 10.9.0.0/24 via 10.2.0.9; ip route add blackhole 10.8.0.0/16
		ip route add 10.7.0.0/16 dev one table 7; ip -6 route add fd09::/16 via fd00:1::9`)
	two, _, err := h.Link("two")
	if err != nil {
		t.Fatal(err)
	}
	one, _, err := h.Link("one")
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string, got []string, err error, want ...string) {
		t.Helper()
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
	routes, err := h.Routes()
	var got []string
	for _, r := range routes {
		got = append(got, r.To.String()+" "+r.Link)
	}
	same("routes", got, err, "10.1.0.0/16 one", "10.2.0.0/16 two", "10.8.0.0/16 ", "10.9.0.0/24 two",
		"fd00:1::/64 one", "fd09::/16 one")
	rest, err := h.RoutesExcept(map[netip.Prefix]bool{netip.MustParsePrefix("10.1.0.0/16"): true,
		netip.MustParsePrefix("fd09::/16"): true})
	got = nil
	for _, r := range rest {
		got = append(got, r.To.String()+" "+r.Link)
	}
	same("routes except known ones", got, err, "10.2.0.0/16 two", "10.8.0.0/16 ", "10.9.0.0/24 two", "fd00:1::/64 one")
	addrs, err := h.BridgeAddresses("one")
	got = nil
	for _, a := range addrs {
		if !a.Addr().IsLinkLocalUnicast() {
			got = append(got, a.String())
		}
	}
	same("addresses of one", got, err, "10.1.0.1/16", "10.1.0.9/16", "fd00:1::1/64")
	reachable, err := h.Addresses(two.Index)
	same("addresses of two", []string{fmt.Sprint(reachable)}, err, "[10.2.0.1/16]")
	for text, want := range map[string]int{"10.2.0.1": two.Index, "fd00:1::1": one.Index, "10.2.0.2": 0} {
		if got, ok, err := h.LinkWith(netip.MustParseAddr(text)); err != nil || got != want || ok != (want != 0) {
			t.Errorf("link with %s: %d, %t, %v; want %d", text, got, ok, err, want)
		}
	}
	neighbours, err := h.Neighbours(one.Index)
	got = nil
	for _, n := range neighbours {
		got = append(got, n.Addr.String()+" "+n.MAC.String())
	}
	same("neighbours of one", got, err, "10.1.0.2 02:00:00:00:00:02", "fd00:1::2 02:00:00:00:00:06")
	v4, err := h.AddressedLinks(false)
	same("links with IPv4", v4, err, "one", "two")
	v6, err := h.AddressedLinks(true)
	same("links with IPv6", v6, err, "one")
}
