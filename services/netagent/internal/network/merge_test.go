package network_test

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestDefaultOptionsYieldToRequest(t *testing.T) {
	defaults := map[string]map[string]string{
		"bridge":  {network.OptMTU: "1400", network.OptICC: "false"},
		"macvlan": {network.OptMTU: "9000"},
	}
	for name, c := range map[string]struct {
		driver        string
		options, want map[string]string
	}{
		"default driver": {"", nil, map[string]string{network.OptMTU: "1400", network.OptICC: "false"}},
		"request wins": {"bridge", map[string]string{network.OptMTU: "1500"},
			map[string]string{network.OptMTU: "1500", network.OptICC: "false"}},
		"of its driver": {"macvlan", map[string]string{"parent": "eth0"},
			map[string]string{network.OptMTU: "9000", "parent": "eth0"}},
		"no defaults": {"ipvlan", map[string]string{"parent": "eth0"}, map[string]string{"parent": "eth0"}},
	} {
		given := maps.Clone(c.options)
		got := network.Draft{Name: "n", Driver: c.driver, Options: c.options}.WithOptions(defaults)
		if !maps.Equal(got.Options, c.want) {
			t.Errorf("%s: got %v, want %v", name, got.Options, c.want)
		}
		if !maps.Equal(c.options, given) || len(defaults["bridge"]) != 2 ||
			defaults["bridge"][network.OptMTU] != "1400" {
			t.Errorf("%s: an argument is modified: %v, %v", name, c.options, defaults)
		}
	}
}

func TestConfigFromExcludesOwnConfiguration(t *testing.T) {
	no := false
	config := network.Draft{ID: "1", Name: "shared", Driver: "null", ConfigOnly: true, Internal: true,
		Pools: []network.PoolSpec{{Subnet: prefix("10.1.0.0/24")}}, Labels: map[string]string{"a": "b"},
		Options: map[string]string{network.OptMTU: "1400"}, DNS: []netip.Addr{addr("9.9.9.9")}}
	got, err := network.Draft{ID: "2", Name: "n", Driver: "macvlan", ConfigFrom: "shared"}.WithConfigFrom(config)
	if err != nil || got.ID != "2" || got.Name != "n" || got.Driver != "macvlan" || got.ConfigOnly ||
		got.ConfigFrom != "shared" || !got.Internal || len(got.Pools) != 1 || got.Labels["a"] != "b" ||
		got.Options[network.OptMTU] != "1400" || len(got.DNS) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}

	for name, w := range map[string]network.Draft{
		"subnet": {Pools: config.Pools}, "option": {Options: config.Options}, "label": {Labels: config.Labels},
		"name server": {DNS: config.DNS}, "IPAM driver": {IPAM: "default"}, "internal": {Internal: true},
		"IPv4": {IPv4: &no}, "IPv6": {IPv6: &no}, "config-only": {ConfigOnly: true},
	} {
		w.Name, w.ConfigFrom = "n", "shared"
		_, err := w.WithConfigFrom(config)
		if f := invalid(err); f == nil || f.Field != "config_from" || f.Error() != "network n: user-specified "+
			"configurations are not supported if the network depends on a configuration network" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestConfigOnlyNetworkIsValidated(t *testing.T) {
	n, err := network.Draft{Name: "shared", ConfigOnly: true,
		Options: map[string]string{network.OptMTU: "1400"}}.Build()
	if err != nil || !n.IsConfigOnly() || n.Driver != "null" || n.Spec.MTU != 0 || n.NeedsFirewall() ||
		n.Spec.Options[network.OptMTU] != "1400" {
		t.Errorf("got %+v, %v", n, err)
	}
	if _, err := (network.Draft{Name: "shared", ConfigOnly: true,
		Options: map[string]string{network.OptMTU: "x"}}).Build(); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want the fault of the option", err)
	}
}

func TestFamiliesOfFlagsAndOptions(t *testing.T) {
	yes, no := true, false
	six := []network.PoolSpec{{Subnet: prefix("fd00::/64")}}
	for name, c := range map[string]struct {
		w    network.Draft
		want string // the families without a subnet
	}{
		"default":             {network.Draft{}, "4"},
		"IPv6 subnet":         {network.Draft{Pools: six}, "4"},
		"flag":                {network.Draft{IPv6: &yes}, "46"},
		"option":              {network.Draft{Options: map[string]string{network.OptIPv6: "true"}}, "46"},
		"flag before option":  {network.Draft{IPv6: &no, Options: map[string]string{network.OptIPv6: "true"}}, "4"},
		"IPv6 only":           {network.Draft{IPv4: &no, IPv6: &yes}, "6"},
		"IPv6 only, subnet":   {network.Draft{IPv4: &no, Pools: six}, ""},
		"IPv4 off by option":  {network.Draft{IPv6: &yes, Options: map[string]string{network.OptIPv4: "0"}}, "6"},
		"option off, subnet":  {network.Draft{Pools: six, Options: map[string]string{network.OptIPv6: "0"}}, "4"},
		"automatic subnet":    {network.Draft{Pools: []network.PoolSpec{{Subnet: prefix("0.0.0.0/25")}}}, ""},
		"pool without subnet": {network.Draft{IPv6: &yes, Pools: []network.PoolSpec{{}}}, "6"},
	} {
		c.w.Name = "n"
		got := ""
		for _, p := range c.w.UnassignedPools() {
			if !p.IsAuto() || p.Subnet.Bits() != 0 {
				t.Errorf("%s: got %s, want any subnet of the default length", name, p.Subnet)
			}
			if got += "6"; p.Subnet.Addr().Is4() {
				got = got[:len(got)-1] + "4"
			}
		}
		if got != c.want {
			t.Errorf("%s: got families %q, want %q", name, got, c.want)
		}
	}
}

func TestBridgeSettingsDefaults(t *testing.T) {
	for name, c := range map[string]struct {
		s               network.BridgeSettings
		bip, bip6, name string
		mtu             int
	}{
		"none": {network.BridgeSettings{},
			"172.17.0.1/16", "invalid Prefix", "docker0", 1500},
		"range in default": {network.BridgeSettings{FixedCIDR: prefix("172.17.5.0/24")},
			"172.17.0.1/16", "invalid Prefix", "docker0", 1500},
		"range elsewhere": {network.BridgeSettings{FixedCIDR: prefix("10.5.0.0/24")},
			"10.5.0.1/24", "invalid Prefix", "docker0", 1500},
		"range of host bits": {network.BridgeSettings{FixedCIDR: prefix("10.5.0.9/24")},
			"10.5.0.1/24", "invalid Prefix", "docker0", 1500},
		"both given": {network.BridgeSettings{Bip: prefix("10.5.0.9/24"), FixedCIDR: prefix("10.5.0.128/25")},
			"10.5.0.9/24", "invalid Prefix", "docker0", 1500},
		"IPv6 range": {network.BridgeSettings{FixedCIDRv6: prefix("fd00:5::/64"), MTU: 1400, BridgeName: "br0"},
			"172.17.0.1/16", "fd00:5::1/64", "br0", 1400},
	} {
		got := c.s.WithDefaults()
		if got.Bip.String() != c.bip || got.Bip6.String() != c.bip6 || got.BridgeName != c.name || got.MTU != c.mtu {
			t.Errorf("%s: got %+v", name, got)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: got %v, want valid defaults", name, err)
		}
		if again := got.WithDefaults(); again != got {
			t.Errorf("%s: got %+v with defaults again", name, again)
		}
	}
}

func TestAdoptedAddressYieldsToConfiguration(t *testing.T) {
	has := []netip.Prefix{prefix("fe80::1/64"), prefix("10.9.0.1/24"), prefix("10.10.0.1/24")}
	for name, c := range map[string]struct {
		s    network.BridgeSettings
		has  []netip.Prefix
		want string
		own  bool // Fairlead manages the address
	}{
		"not configured": {network.BridgeSettings{}, has, "10.9.0.1/24", false},
		"bip":            {network.BridgeSettings{Bip: prefix("10.5.0.1/24")}, has, "10.5.0.1/24", true},
		"fixed-cidr":     {network.BridgeSettings{FixedCIDR: prefix("10.5.0.0/24")}, has, "10.5.0.1/24", true},
		"no address":     {network.BridgeSettings{}, has[:1], "172.17.0.1/16", true},
	} {
		n := c.s.Adopt(c.has).WithDefaults().Predefined()[0]
		if got := n.Spec.Pools[0].HostPrefix().String(); got != c.want || len(n.HostAddresses()) == 1 != c.own {
			t.Errorf("%s: got %s, host addresses %v", name, got, n.HostAddresses())
		}
	}
}

func TestIPv6OfDefaultBridgeIsOutOfPools(t *testing.T) {
	space := network.DefaultSpace("host-1")
	pool := space[len(space)-1].Prefix
	s := network.BridgeSettings{IPv6: true}.WithIPv6("host-1")
	first, _, ok := space.Allocate(netip.PrefixFrom(netip.IPv6Unspecified(), 0), nil)
	if !ok || !pool.Contains(s.Bip6.Addr()) || s.Bip6.Bits() != 64 || s.Bip6.Masked() == first {
		t.Errorf("got %s in %s, first allocated %s", s.Bip6, pool, first)
	}
	if again := (network.BridgeSettings{IPv6: true}).WithIPv6("host-1"); again != s {
		t.Errorf("got %s, then %s for one host", s.Bip6, again.Bip6)
	}
	if other := (network.BridgeSettings{IPv6: true}).WithIPv6("host-2"); other.Bip6 == s.Bip6 {
		t.Errorf("got %s for two hosts", s.Bip6)
	}
	if got := (network.BridgeSettings{}).WithIPv6("host-1"); got.Bip6.IsValid() {
		t.Errorf("got %s without IPv6", got.Bip6)
	}
	own := network.BridgeSettings{IPv6: true, Bip6: prefix("fd00:9::1/64")}
	if got := own.WithIPv6("host-1"); got != own {
		t.Errorf("got %s, want the configured one", got.Bip6)
	}
}

func TestReloadChangesPoolsOnly(t *testing.T) {
	now := network.BridgeSettings{Bip: prefix("10.1.0.1/24"), MTU: 1500, BridgeName: "docker0", Isolated: true,
		HostBinding: addr("127.0.0.1")}
	next := network.BridgeSettings{Bip: prefix("10.2.0.1/24"), FixedCIDR: prefix("10.2.0.0/25"), IPv6: true,
		DefaultGateway: addr("10.2.0.9"), Bip6: prefix("fd00::1/64"), FixedCIDRv6: prefix("fd00::/80"),
		DefaultGatewayV6: addr("fd00::9"), MTU: 1400, Renumber: true, BridgeName: "br0", NoMasquerade: true}
	want := next
	want.BridgeName, want.Isolated, want.HostBinding, want.NoMasquerade = "docker0", true, addr("127.0.0.1"), false
	if got := now.WithPools(next); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
