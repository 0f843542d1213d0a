package network_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestMACFollowsAddress(t *testing.T) {
	for addr, want := range map[string]string{"172.17.0.2": "02:42:ac:11:00:02", "192.168.10.2": "02:42:c0:a8:0a:02",
		"::ffff:172.17.0.2": "02:42:ac:11:00:02", "fd00::1:2": "02:42:00:01:00:02"} {
		if got := network.MACOf(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
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

func TestInvalidBridgeSettingsNameKeys(t *testing.T) {
	for name, c := range map[string]struct {
		s     network.BridgeSettings
		wrong string // the invalid keys, joined by spaces
	}{
		"nothing given": {network.BridgeSettings{}, ""},
		"all given": {network.BridgeSettings{Bip: prefix("192.168.1.5/24"),
			FixedCIDR: prefix("192.168.1.128/25"), DefaultGateway: addr("192.168.1.254")}, ""},
		"both outside bip": {network.BridgeSettings{Bip: prefix("192.168.1.5/24"),
			FixedCIDR: prefix("10.20.0.0/16"), DefaultGateway: addr("10.20.1.1")}, "fixed-cidr default-gateway"},
		"the subnet's address":  {network.BridgeSettings{Bip: prefix("10.0.0.0/24")}, "bip"},
		"the broadcast address": {network.BridgeSettings{Bip: prefix("10.0.0.255/24")}, "bip"},
		"a /31":                 {network.BridgeSettings{Bip: prefix("10.0.0.0/31")}, ""},
		"IPv6 as bip":           {network.BridgeSettings{Bip: prefix("fd00::1/64")}, "bip"},
		"a range larger than bip": {network.BridgeSettings{Bip: prefix("10.0.0.1/24"),
			FixedCIDR: prefix("10.0.0.0/16")}, "fixed-cidr"},
		"a gateway on broadcast": {network.BridgeSettings{Bip: prefix("10.0.0.1/24"),
			DefaultGateway: addr("10.0.0.255")}, "default-gateway"},
		"a small MTU":              {network.BridgeSettings{MTU: 67}, "mtu"},
		"a negative MTU":           {network.BridgeSettings{MTU: -1}, "mtu"},
		"an MTU too small for v6":  {network.BridgeSettings{MTU: 1000, Bip6: prefix("fd00::1/64")}, "mtu"},
		"a bridge name too long":   {network.BridgeSettings{BridgeName: "a23456789012345b"}, "bridge"},
		"a bridge name with slash": {network.BridgeSettings{BridgeName: "a/b"}, "bridge"},
		"IPv6 by its range":        {network.BridgeSettings{FixedCIDRv6: prefix("fd00::/64")}, ""},
		"IPv6 range outside": {network.BridgeSettings{Bip6: prefix("fd00::1/64"),
			FixedCIDRv6: prefix("fd01::/80")}, "fixed-cidr-v6"},
		"IPv6 gateway without bip": {network.BridgeSettings{DefaultGatewayV6: addr("fd00::1")}, "default-gateway-v6"},
		"IPv4 as bip6":             {network.BridgeSettings{Bip6: prefix("10.0.0.1/24")}, "bip6"},
	} {
		err := c.s.WithDefaults().Validate()
		if (err == nil) != (c.wrong == "") {
			t.Errorf("%s: got %v, want a fault of %q", name, err, c.wrong)
			continue
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an Invalid fault", name, err)
		}
		for _, key := range strings.Fields(c.wrong) {
			if !strings.Contains(err.Error(), key+" ") {
				t.Errorf("%s: got %v without key %s", name, err, key)
			}
		}
	}
}

func TestPredefinedNetworksMatchDocker(t *testing.T) {
	all := network.BridgeSettings{}.WithDefaults().Predefined()
	names := ""
	for _, n := range all {
		names += n.Name + ":" + n.Driver + " "
	}

	if names != "bridge:bridge host:host none:null " {
		t.Errorf("got networks %s", names)
	}

	b := all[0]
	if b.Bridge().Device != "docker0" || b.Spec.MTU != 1500 || !b.Bridge().Masquerade || !b.ICC() ||
		len(b.Spec.Pools) != 1 ||
		b.HasIPv6() ||
		b.Spec.Pools[0].HostPrefix().String() != "172.17.0.1/16" ||
		b.Spec.Pools[0].ContainerGatewayAddr().String() != "172.17.0.1" {
		t.Errorf("got bridge %+v", b)
	}

	dual := network.BridgeSettings{FixedCIDRv6: prefix("fd00:17::/64")}.WithDefaults().Predefined()[0]
	if !dual.HasIPv6() || dual.Spec.Pools[1].HostPrefix().String() != "fd00:17::1/64" {
		t.Errorf("got bridge with IPv6 %+v", dual)
	}
}

func TestUnavailableDriversRejected(t *testing.T) {
	for driver, want := range map[string]string{"host": `only one instance of "host"`,
		"mackvlan": "did you mean macvlan?", "x": `plugin "x" not found`} {
		_, err := (network.Draft{Name: "n1", Driver: driver}).Build()
		if f := (*fault.Fault)(nil); !errors.As(err, &f) || !strings.Contains(f.Message+f.Hint, want) {
			t.Errorf("%s: got %v, want %q", driver, err, want)
		}
	}
}
