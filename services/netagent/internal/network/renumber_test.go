package network_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

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
