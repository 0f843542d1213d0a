package network_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// TestStaticAddressesTranslateProperty moves an address to another subnet and back.
func TestStaticAddressesTranslateProperty(t *testing.T) {
	subnets := []netip.Prefix{prefix("10.1.0.0/24"), prefix("192.168.4.0/23"), prefix("172.16.0.128/25"),
		prefix("fd00:1::/64"), prefix("fd00:2:ffff:ffff::/64"), prefix("2001:db8:0:8000::/49")}
	rapid.Check(t, func(t *rapid.T) {
		from, to := rapid.SampledFrom(subnets).Draw(t, "from"), rapid.SampledFrom(subnets).Draw(t, "to")
		offset := rapid.IntRange(0, 600).Draw(t, "offset")
		a := from.Addr()
		for range offset {
			a = a.Next()
		}
		n := network.Network{Spec: network.Spec{Pools: []network.Pool{{Subnet: to}}},
			Status: network.Status{FormerSubnets: []netip.Prefix{from}}}
		got := n.CurrentAddr(a)

		size := 1 << min(to.Addr().BitLen()-to.Bits(), 20)
		if !from.Contains(a) || from == to || from.Addr().Is4() != to.Addr().Is4() || offset >= size {
			if got != a {
				t.Fatalf("%s of %s in %s: got %s, want it unchanged", a, from, to, got)
			}
			return
		}
		want := to.Addr()
		for range offset {
			want = want.Next()
		}
		back := network.Network{Spec: network.Spec{Pools: []network.Pool{{Subnet: from}}},
			Status: network.Status{FormerSubnets: []netip.Prefix{to}}}
		if got != want || back.CurrentAddr(got) != a {
			t.Fatalf("%s of %s in %s: got %s, back %s, want %s", a, from, to, got, back.CurrentAddr(got), want)
		}
	})
}

func TestEndpointKeepsFormerAddresses(t *testing.T) {
	former := make([]netip.Prefix, 1, 4) // with space behind it, as a decoded list can have
	former[0] = prefix("10.0.0.2/24")
	e := network.Endpoint{IPv4: prefix("10.1.0.2/24"), IPv6: prefix("fd00::2/64"), Former: former,
		MAC: network.MACOf(addr("10.1.0.2"))}
	one, two := e.WithNewAddr(prefix("10.2.0.2/24")), e.WithNewAddr(prefix("fd01::2/64"))
	if got := fmt.Sprint(one.Addresses(), one.Former, one.MAC); got !=
		"[10.2.0.2/24 fd00::2/64] [10.0.0.2/24 10.1.0.2/24] 02:42:0a:02:00:02" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(two.Addresses(), two.Former, two.MAC); got !=
		"[10.1.0.2/24 fd01::2/64] [10.0.0.2/24 fd00::2/64] 02:42:0a:01:00:02" {
		t.Errorf("got %s", got)
	}

	e.Spec.MAC = "02:00:00:00:00:01"
	if got := e.WithNewAddr(prefix("10.2.0.2/24")); got.MAC.String() != "02:42:0a:01:00:02" {
		t.Errorf("got MAC address %s, want it kept", got.MAC)
	}
	four := network.Network{Spec: network.Spec{Pools: []network.Pool{pool("10.1.0.0/24")}}}
	if got := e.Without(four); fmt.Sprint(got.Addresses(), got.Former) != "[10.1.0.2/24] [10.0.0.2/24 fd00::2/64]" {
		t.Errorf("got %v, former %v without IPv6", got.Addresses(), got.Former)
	}
	if got := e.Without(network.Network{}); len(got.Addresses()) != 0 ||
		fmt.Sprint(got.Former) != "[10.0.0.2/24 10.1.0.2/24 fd00::2/64]" {
		t.Errorf("got %v, former %v without pools", got.Addresses(), got.Former)
	}
	four.Spec.DHCP4 = true
	if got := e.Without(four); len(got.Addresses()) != 2 {
		t.Errorf("got %v on a DHCP network, want the leased ones", got.Addresses())
	}
}

func TestFormerAddressIsRestored(t *testing.T) {
	e := network.Endpoint{IPv4: prefix("10.2.0.2/24"), Former: []netip.Prefix{prefix("10.0.0.2/24"),
		prefix("10.1.0.2/24")}}
	got, ok := e.RestoreAddr([]network.Pool{pool("10.1.0.0/16")})
	if !ok || got.IPv4 != prefix("10.1.0.2/16") || fmt.Sprint(got.Former) != "[10.0.0.2/24 10.2.0.2/24]" {
		t.Errorf("got %s, former %v, %v", got.IPv4, got.Former, ok)
	}
	if fmt.Sprint(e.Former) != "[10.0.0.2/24 10.1.0.2/24]" {
		t.Errorf("the endpoint before is modified: %v", e.Former)
	}
	if got, ok := e.RestoreAddr([]network.Pool{pool("10.9.0.0/24")}); ok || got.IPv4 != e.IPv4 {
		t.Errorf("got %s, %v from a pool without its addresses", got.IPv4, ok)
	}
}

func TestNeedsRenumbering(t *testing.T) {
	n := network.Network{Spec: network.Spec{Pools: []network.Pool{pool("10.1.0.0/24"), pool("fd00::/64")}}}
	moving := n
	moving.Status.Renumbering = true
	both := network.Endpoint{IPv4: prefix("10.1.0.2/24"), IPv6: prefix("fd00::2/64")}
	for name, c := range map[string]struct {
		n    network.Network
		e    network.Endpoint
		want bool
	}{
		"current":                 {n, both, false},
		"current, moving":         {moving, both, false},
		"family missing":          {n, network.Endpoint{IPv4: both.IPv4}, true},
		"no address at all":       {n, network.Endpoint{}, false},
		"former address":          {n, network.Endpoint{IPv4: prefix("10.9.0.2/24"), IPv6: both.IPv6}, false},
		"former address, moving":  {moving, network.Endpoint{IPv4: prefix("10.9.0.2/24"), IPv6: both.IPv6}, true},
		"renumbering, incomplete": {n, network.Endpoint{IPv4: both.IPv4, IPv6: both.IPv6, Renumbering: true}, true},
	} {
		if got := c.e.NeedsRenumbering(c.n); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestFormerPoolsEndWithTheirAddresses(t *testing.T) {
	n := network.Network{ID: "1", Status: network.Status{Renumbering: true,
		Former: []network.Pool{pool("10.1.0.0/24"), pool("10.2.0.0/24")}}}
	on := func(id string, e network.Endpoint) []network.Sandbox {
		e.NetworkID = id
		return []network.Sandbox{{}, {Endpoints: []network.Endpoint{{NetworkID: "9"}, e}}}
	}
	for name, c := range map[string]struct {
		sandboxes []network.Sandbox
		want      string
	}{
		"in use":          {on("1", network.Endpoint{IPv4: prefix("10.1.0.2/24")}), "[10.1.0.0/24]"},
		"former address":  {on("1", network.Endpoint{Former: []netip.Prefix{prefix("10.2.0.2/24")}}), "[10.2.0.0/24]"},
		"another network": {on("2", network.Endpoint{IPv4: prefix("10.1.0.2/24")}), "[]"},
		"none":            {nil, "[]"},
	} {
		got := n.WithoutUnusedFormer(c.sandboxes)
		if subnetsOf(got.Status.Former) != c.want || got.Status.Renumbering != (c.want != "[]") {
			t.Errorf("%s: got %s, renumbering %v", name, subnetsOf(got.Status.Former), got.Status.Renumbering)
		}
	}
	if len(n.Status.Former) != 2 || n.Status.Former[0].Subnet != prefix("10.1.0.0/24") {
		t.Errorf("the network before is modified: %+v", n.Status.Former)
	}
	if !n.IsFormer(prefix("10.2.0.7/24")) || n.IsFormer(prefix("10.3.0.7/24")) {
		t.Error("IsFormer is wrong")
	}
}

func TestEndpointFollowsNetworkUpdate(t *testing.T) {
	e := network.Endpoint{IPv4: prefix("10.1.0.2/24"), IPv6: prefix("fd00::2/64"), DNS: []netip.Addr{addr("9.9.9.9")}}
	n := network.Network{Spec: network.Spec{DNS: e.DNS, Pools: []network.Pool{pool("10.1.0.0/16"), pool("fd00::/48")}}}
	got := e.WithPrefixLens(n)
	if got.IPv4 != prefix("10.1.0.2/16") || got.IPv6 != prefix("fd00::2/48") || got.Renumbering {
		t.Errorf("got %v, renumbering %v", got.Addresses(), got.Renumbering)
	}
	n.Spec.DNS = []netip.Addr{addr("1.1.1.1")}
	if got := e.WithPrefixLens(n); !got.Renumbering || !slices.Equal(got.DNS, n.Spec.DNS) {
		t.Errorf("got servers %v, renumbering %v", got.DNS, got.Renumbering)
	}
	moved := network.Network{Spec: network.Spec{DNS: e.DNS, Pools: []network.Pool{pool("10.9.0.0/16")}}}
	if got := e.WithPrefixLens(moved); got.IPv4 != e.IPv4 || got.IPv6 != e.IPv6 {
		t.Errorf("got %v on other subnets", got.Addresses())
	}
}

func TestDifferenceIgnoresPrefixLength(t *testing.T) {
	some := []netip.Prefix{prefix("10.0.0.1/24"), prefix("10.0.0.2/24"), prefix("fd00::1/64")}
	got := network.Difference(some, []netip.Prefix{prefix("10.0.0.2/16"), prefix("fd00::2/64")})
	if fmt.Sprint(got) != "[10.0.0.1/24 fd00::1/64]" || some[1] != prefix("10.0.0.2/24") {
		t.Errorf("got %v of %v", got, some)
	}
}

// TestGatewaysProperty chooses gateways for random sandboxes: at most one for each family, of the
// highest priority, and a second choice after a change keeps the endpoints of the first.
func TestGatewaysProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var endpoints []network.Endpoint
		var nets []network.Network
		for i := range rapid.IntRange(0, 4).Draw(t, "endpoints") {
			n := network.Network{Name: fmt.Sprint("n", i), Spec: network.Spec{
				Internal: rapid.Bool().Draw(t, "internal"),
				Pools:    []network.Pool{pool(fmt.Sprintf("10.%d.0.0/24", i))}}}
			e := network.Endpoint{IPv4: prefix(fmt.Sprintf("10.%d.0.2/24", i))}
			if rapid.Bool().Draw(t, "ipv6") {
				n.Spec.Pools = append(n.Spec.Pools, pool(fmt.Sprintf("fd0%d::/64", i)))
				e.IPv6 = prefix(fmt.Sprintf("fd0%d::2/64", i))
			}
			e.Spec.Priority = rapid.IntRange(-1, 1).Draw(t, "priority")
			endpoints, nets = append(endpoints, e), append(nets, n)
		}

		chosen := network.ChooseGateways(endpoints, nets)
		for _, is6 := range []bool{false, true} {
			holder, count := -1, 0
			for i, e := range chosen {
				for _, gw := range e.Gateways() {
					if gw.Is6() == is6 {
						holder, count = i, count+1
					}
				}
			}
			for i, e := range chosen {
				can := !nets[i].Spec.Internal && (!is6 || e.IPv6.IsValid())
				if can && (count != 1 || e.Spec.Priority > chosen[holder].Spec.Priority) {
					t.Fatalf("IPv6 %v: got endpoint %d of %d, %d can have the gateway: %+v", is6, holder, count, i,
						chosen)
				}
			}
		}

		for i := range endpoints { // another choice, which must not move the default route
			endpoints[i].Spec.Priority = rapid.IntRange(-1, 1).Draw(t, "next")
		}
		kept := network.KeepGateways(chosen, network.ChooseGateways(endpoints, nets), nets)
		for i := range kept {
			if kept[i].Gateway4 != chosen[i].Gateway4 || kept[i].Gateway6 != chosen[i].Gateway6 {
				t.Fatalf("endpoint %d: got %v, want %v", i, kept[i].Gateways(), chosen[i].Gateways())
			}
		}
	})
}

func TestStatusCountsChanges(t *testing.T) {
	n := network.Network{Spec: network.Spec{MTU: 1400}, Status: network.Status{Followed: 3, Generation: 3}}
	if n.Status.EndpointsOutdated() || n.FollowedMTU() != 0 {
		t.Errorf("got outdated endpoints of %+v", n.Status)
	}
	n.Status = n.Status.Changed()
	if !n.Status.EndpointsOutdated() || n.FollowedMTU() != 1400 {
		t.Errorf("got MTU %d after a change", n.FollowedMTU())
	}
	if n.Origin = network.OriginPredefined; n.FollowedMTU() != 0 {
		t.Errorf("got MTU %d for running endpoints of a predefined network", n.FollowedMTU())
	}
	n.Status.Former, n.Status.Renumbering = []network.Pool{pool("10.0.0.0/24")}, true
	if got := n.Status.WithoutFormer(); len(got.Former) > 0 || got.Renumbering || got.Generation != 4 {
		t.Errorf("got %+v", got)
	}
}

func TestOverlayAllocatesInOwnBlocks(t *testing.T) {
	p := network.Pool{Subnet: prefix("10.0.0.0/16"), Range: prefix("10.0.4.0/22"), Gateway: addr("10.0.0.1"),
		Aux: map[string]netip.Addr{"x": addr("10.0.4.9")}}
	n := network.Network{Scope: network.Global, Driver: network.DriverOverlay,
		Spec: network.Spec{Pools: []network.Pool{p}},
		Status: network.Status{Blocks: []netip.Prefix{prefix("10.0.5.7/32"), prefix("10.0.6.0/26"),
			prefix("10.0.4.0/26"), prefix("10.0.8.0/26"), prefix("fd00::/64")}}}
	pool := n.Addresses(p)
	if got := fmt.Sprint(pool.Ranges); got != "[10.0.4.0/26 10.0.6.0/26 10.0.5.7/32]" || pool.Cooldown == 0 {
		t.Errorf("got ranges %s, cooldown %s", got, pool.Cooldown)
	}
	if !n.Owns(addr("10.0.6.5")) || n.Owns(addr("10.0.7.5")) || n.IsOnHost() || n.NeedsFirewall() {
		t.Errorf("got owner of a foreign address, or a network on the host: %+v", n.Status)
	}
	n.Scope = network.Local
	local := n.Addresses(p)
	if got := fmt.Sprint(local.Ranges); got != "[10.0.4.0/22]" || local.Cooldown != 0 || !n.Owns(addr("10.0.7.5")) ||
		!slices.Contains(local.Reserved, addr("10.0.4.9")) || !slices.Contains(local.Reserved, addr("10.0.0.1")) {
		t.Errorf("local: got ranges %s, reserved %v", got, local.Reserved)
	}
}

func TestLeaseRoutesYieldToSubnets(t *testing.T) {
	terms := &lease.Terms{Address: prefix("10.1.0.2/24"), Routes: []lease.Route{
		{To: prefix("10.2.0.0/25"), Via: addr("10.1.0.1")}, {To: prefix("10.9.0.0/16"), Via: addr("10.1.0.1")}}}
	endpoints := []network.Endpoint{network.Endpoint{}.WithLeases(terms, nil), {IPv4: prefix("10.2.0.2/24")}}
	got := network.ChooseRoutes(endpoints, make([]network.Network, 2))
	if fmt.Sprint(got[0].Routes) != "[10.9.0.0/16 via 10.1.0.1]" || len(got[1].Routes) > 0 {
		t.Errorf("got routes %v and %v", got[0].Routes, got[1].Routes)
	}
}
