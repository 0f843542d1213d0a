package network_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/netagent/network"
)

func TestAMACFollowsTheAddress(t *testing.T) {
	for addr, want := range map[string]string{"172.17.0.2": "02:42:ac:11:00:02", "192.168.10.2": "02:42:c0:a8:0a:02",
		"::ffff:172.17.0.2": "02:42:ac:11:00:02", "fd00::1:2": "02:42:00:01:00:02"} {
		if got := network.MACOf(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s has %s, want %s", addr, got, want)
		}
	}
}

func TestHostEndsAreNamedByTheirEndpoint(t *testing.T) {
	const endpoint = "1c0ffee234567890"
	if got := network.HostInterface(endpoint); got != "veth1c0ffee" {
		t.Errorf("named %s", got)
	}
	if got := network.HostMAC(endpoint).String(); got != "fe:1c:0f:fe:e2:34" {
		t.Errorf("MAC %s", got)
	}
}

func TestAnAliasBelongsToOneNetwork(t *testing.T) {
	one, other, owner := id.New(), id.New(), id.New()
	alias := network.Alias(one, owner)
	if alias != "fairlead:"+one[:12]+":"+owner[:12] || !network.AliasIsOf(alias, one) || network.AliasIsOf(alias, other) || network.AliasIsOf("", one) {
		t.Errorf("alias %s", alias)
	}
}

func prefix(s string) netip.Prefix {
	if s == "" {
		return netip.Prefix{}
	}
	return netip.MustParsePrefix(s)
}

func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

func TestSettingsThatCannotWorkAreRefusedWithEachKeyNamed(t *testing.T) {
	for name, c := range map[string]struct {
		s     network.Settings
		wrong string // the keys at fault, joined by spaces
	}{
		"nothing given":            {network.Settings{}, ""},
		"all given":                {network.Settings{Bip: prefix("192.168.1.5/24"), FixedCIDR: prefix("192.168.1.128/25"), DefaultGateway: addr("192.168.1.254")}, ""},
		"both outside bip":         {network.Settings{Bip: prefix("192.168.1.5/24"), FixedCIDR: prefix("10.20.0.0/16"), DefaultGateway: addr("10.20.1.1")}, "fixed-cidr default-gateway"},
		"the subnet's address":     {network.Settings{Bip: prefix("10.0.0.0/24")}, "bip"},
		"the broadcast address":    {network.Settings{Bip: prefix("10.0.0.255/24")}, "bip"},
		"a /31":                    {network.Settings{Bip: prefix("10.0.0.0/31")}, ""},
		"IPv6 as bip":              {network.Settings{Bip: prefix("fd00::1/64")}, "bip"},
		"a range larger than bip":  {network.Settings{Bip: prefix("10.0.0.1/24"), FixedCIDR: prefix("10.0.0.0/16")}, "fixed-cidr"},
		"a gateway on broadcast":   {network.Settings{Bip: prefix("10.0.0.1/24"), DefaultGateway: addr("10.0.0.255")}, "default-gateway"},
		"a small MTU":              {network.Settings{MTU: 67}, "mtu"},
		"a negative MTU":           {network.Settings{MTU: -1}, "mtu"},
		"an MTU too small for v6":  {network.Settings{MTU: 1000, Bip6: prefix("fd00::1/64")}, "mtu"},
		"a bridge name too long":   {network.Settings{BridgeName: "a23456789012345b"}, "bridge"},
		"a bridge name with slash": {network.Settings{BridgeName: "a/b"}, "bridge"},
		"IPv6 by its range":        {network.Settings{FixedCIDRv6: prefix("fd00::/64")}, ""},
		"IPv6 range outside":       {network.Settings{Bip6: prefix("fd00::1/64"), FixedCIDRv6: prefix("fd01::/80")}, "fixed-cidr-v6"},
		"IPv6 gateway without bip": {network.Settings{DefaultGatewayV6: addr("fd00::1")}, "default-gateway-v6"},
		"IPv4 as bip6":             {network.Settings{Bip6: prefix("10.0.0.1/24")}, "bip6"},
	} {
		err := c.s.WithDefaults().Validate()
		if (err == nil) != (c.wrong == "") {
			t.Errorf("%s: %v, want fault in %q", name, err, c.wrong)
			continue
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v is no Invalid fault", name, err)
		}
		for _, key := range strings.Fields(c.wrong) {
			if !strings.Contains(err.Error(), key+" ") {
				t.Errorf("%s: %v does not name %s", name, err, key)
			}
		}
	}
}

func TestThePredefinedNetworksAreDockers(t *testing.T) {
	all := network.Settings{}.WithDefaults().Predefined()
	names := ""
	for _, n := range all {
		names += n.Name + ":" + n.Driver + " "
	}
	if names != "bridge:bridge host:host none:null " {
		t.Errorf("networks %s", names)
	}
	b := all[0]
	if b.Bridge != "docker0" || b.MTU != 1500 || !b.Masquerade || !b.InterContainer || len(b.Pools) != 1 || b.HasIPv6() ||
		b.Pools[0].HostPrefix().String() != "172.17.0.1/16" || b.Pools[0].RouteVia().String() != "172.17.0.1" {
		t.Errorf("bridge %+v", b)
	}
	dual := network.Settings{FixedCIDRv6: prefix("fd00:17::/64")}.WithDefaults().Predefined()[0]
	if !dual.HasIPv6() || dual.Pools[1].HostPrefix().String() != "fd00:17::1/64" {
		t.Errorf("bridge with IPv6 %+v", dual)
	}
}
