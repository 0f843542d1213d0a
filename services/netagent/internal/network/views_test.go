package network_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestSubnetsByGatewayMode(t *testing.T) {
	n := bridgeOn(pool("10.1.0.0/24"), pool("fd00::/64"))
	n.Status.Former = []network.Pool{pool("10.9.0.0/24")}
	n.Spec.Bridge.IPv4.Mode, n.Spec.Bridge.IPv6.Mode = network.ModeRouted, network.ModeUnprotected
	if got := fmt.Sprint(n.RoutedSubnets(), n.UnprotectedSubnets()); got !=
		"[10.1.0.0/24 10.9.0.0/24] [fd00::/64]" {
		t.Errorf("got routed and unprotected subnets %s", got)
	}
	for mode, want := range map[string]string{network.ModeIsolated: "[fd00::1/64]",
		network.ModeRouted: "[10.1.0.1/24 fd00::1/64 10.9.0.1/24]", "": "[10.1.0.1/24 fd00::1/64 10.9.0.1/24]"} {
		n.Spec.Bridge.IPv4.Mode = mode
		if got := fmt.Sprint(n.HostAddresses()); got != want {
			t.Errorf("mode %q: got host addresses %s, want %s", mode, got, want)
		}
	}
}

func TestShortNamesGrowablePool(t *testing.T) {
	fixed, growable := pool("10.1.0.0/26"), pool("10.2.0.0/26")
	growable.GrowLimit = prefix("10.2.0.0/16")
	n := network.Network{ID: "1", Spec: network.Spec{Pools: []network.Pool{fixed, growable}}}
	for want, ok := range map[string]bool{"10.2.0.70": true, "10.2.255.1": true, "10.1.0.70": false,
		"10.3.0.1": false} {
		got, short := n.Short(addr(want))
		if short != ok || short && got != (network.PoolShortage{NetworkID: "1", Subnet: growable.Subnet,
			Want: addr(want)}) {
			t.Errorf("%s: got %+v, %v, want %v", want, got, short, ok)
		}
	}
	for want, larger := range map[string]string{"": "10.2.0.0/25", "10.2.0.70": "10.2.0.0/25",
		"10.2.1.1":   "10.2.0.0/23",
		"10.2.255.1": "10.2.0.0/16"} {
		if got, ok := growable.Larger(addr(want)); !ok || got != prefix(larger) {
			t.Errorf("%q: got %s, %v, want %s", want, got, ok, larger)
		}
	}
	if got, ok := fixed.Larger(netip.Addr{}); ok {
		t.Errorf("got %s of a fixed size", got)
	}
}

func TestPoolsGroupedByFamily(t *testing.T) {
	four, more, six := pool("10.1.0.0/24"), pool("10.2.0.0/24"), pool("fd00::/64")
	for want, pools := range map[string][]network.Pool{"": nil, "[fd00::/64]": {six},
		"[10.1.0.0/24 10.2.0.0/24][fd00::/64]": {four, six, more}} {
		got := ""
		for _, group := range network.ByFamily(pools) {
			got += subnetsOf(group)
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestConfiguredPoolsKeepIPv6OfHost(t *testing.T) {
	host := network.DefaultSpace("seed")
	six := host[len(host)-1]
	four := network.AddressPools{host[0]}
	if got := four.WithIPv6(host); len(got) != 2 || got[1] != six || len(four) != 1 {
		t.Errorf("got %v, want the IPv6 pool of the host", got)
	}
	own := network.AddressPools{host[0], {Prefix: prefix("fd12::/48"), Bits: 64}}
	if got := own.WithIPv6(host); !slices.Equal(got, own) {
		t.Errorf("got %v, want the configured pools", got)
	}
}

// TestAllocatedSubnetsAreFree allocates until the pools are exhausted.
func TestAllocatedSubnetsAreFree(t *testing.T) {
	space := network.AddressPools{{Prefix: prefix("10.1.0.0/24"), Bits: 26}, {Prefix: prefix("fd00::/62"), Bits: 64}}
	for _, family := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		var taken []netip.Prefix
		for {
			got, limit, ok := space.Allocate(netip.PrefixFrom(family, 0), taken)
			if !ok {
				break
			}
			if limit.IsValid() || slices.ContainsFunc(taken, got.Overlaps) || got != got.Masked() {
				t.Errorf("got %s with the limit %s, taken %v", got, limit, taken)
			}
			taken = append(taken, got)
		}
		if len(taken) != 4 {
			t.Errorf("got %v, want 4 subnets", taken)
		}
	}
	if got, _, ok := space.Allocate(prefix("0.0.0.0/25"), []netip.Prefix{prefix("10.1.0.0/25")}); !ok ||
		got != prefix("10.1.0.128/25") {
		t.Errorf("got %s, %v for a length", got, ok)
	}
	if got, _, ok := space.Allocate(prefix("0.0.0.0/23"), nil); ok {
		t.Errorf("got %s, which is larger than the pool", got)
	}
}
