package network_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func opt(key, value string) network.Draft {
	return network.Draft{Name: "n", Options: map[string]string{key: value}}
}

func pools(all ...network.PoolSpec) network.Draft { return network.Draft{Name: "n", Pools: all} }

func TestInvalidNetworksRejected(t *testing.T) {
	on, off := true, false
	for name, c := range map[string]struct {
		want network.Draft
		kind fault.Kind
		text string
	}{
		"no name": {network.Draft{}, fault.Invalid, "no name was given"},
		"a predefined name": {network.Draft{Name: "host"}, fault.Denied,
			"operation is not permitted on predefined host network"},
		"the default's name": {network.Draft{Name: "default"}, fault.Denied, "operation is not permitted"},
		"a mode as a name":   {network.Draft{Name: "container:x"}, fault.Invalid, "invalid network name"},
		"a blank":            {network.Draft{Name: "a b"}, fault.Invalid, "invalid network name"},
		"a slash":            {network.Draft{Name: "a/b"}, fault.Invalid, "invalid network name"},
		"a long name": {network.Draft{Name: strings.Repeat("a", 129)}, fault.Invalid,
			"at most 128 characters"},
		"a bad id": {network.Draft{Name: "n", ID: "x"}, fault.Invalid, "64 lower-case"},
		"a second host network": {network.Draft{Name: "n", Driver: "host"}, fault.Denied,
			`only one instance of "host" network is allowed`},
		"an unknown driver":      {network.Draft{Name: "n", Driver: "X"}, fault.NotFound, `plugin "X" not found`},
		"no family":              {network.Draft{Name: "n", IPv4: &off}, fault.Invalid, "IPv4 or IPv6 must be enabled"},
		"no family by an option": {opt(network.OptIPv4, "false"), fault.Invalid, "IPv4 or IPv6 must be enabled"},
		"a family that is off": {network.Draft{Name: "n", IPv6: &off,
			Pools: []network.PoolSpec{{Subnet: prefix("fd00::/64")}}}, fault.Invalid, "disabled address family"},
		"host bits": {pools(network.PoolSpec{Subnet: prefix("10.1.2.3/24")}), fault.Invalid,
			"invalid subnet 10.1.2.3/24: it should be 10.1.2.0/24"},
		"everything": {pools(network.PoolSpec{Subnet: prefix("0.0.0.0/0")}), fault.Invalid,
			"invalid subnet"},
		"loopback": {pools(network.PoolSpec{Subnet: prefix("127.3.0.0/16")}), fault.Invalid, "loopback"},
		"two of a family": {pools(network.PoolSpec{Subnet: prefix("10.1.0.0/24")},
			network.PoolSpec{Subnet: prefix("10.2.0.0/24")}), fault.Invalid, "doesn't support multiple subnets"},
		"a range too big": {pools(network.PoolSpec{Subnet: prefix("10.1.2.0/24"),
			Range: prefix("10.1.0.0/16")}), fault.Invalid,
			"invalid ip-range 10.1.0.0/16: CIDR block is bigger than its parent subnet 10.1.2.0/24"},
		"a range with host bits": {pools(network.PoolSpec{Subnet: prefix("10.1.2.0/24"),
			Range: prefix("10.1.2.1/25")}), fault.Invalid, "it should be 10.1.2.0/25"},
		"a range outside": {pools(network.PoolSpec{Subnet: prefix("10.1.2.0/24"),
			Range: prefix("10.1.3.0/25")}), fault.Invalid, "no matching subnet for range 10.1.3.0/25"},
		"a range alone": {pools(network.PoolSpec{Range: prefix("10.1.3.0/25")}), fault.Invalid,
			"every ip-range or gateway must have a corresponding subnet"},
		"a gateway outside": {pools(network.PoolSpec{Subnet: prefix("10.1.2.0/24"), Gateway: addr("10.1.3.1")}),
			fault.Invalid, "no matching subnet for gateway 10.1.3.1"},
		"a gateway that is last": {pools(network.PoolSpec{Subnet: prefix("10.1.2.0/24"), Gateway: addr("10.1.2.255")}),
			fault.Invalid, "is the network or broadcast address"},
		"an aux outside": {pools(network.PoolSpec{Subnet: prefix("10.1.2.0/24"),
			Aux: map[string]netip.Addr{"x": addr("10.1.3.1")}}), fault.Invalid,
			"no matching subnet for aux-address 10.1.3.1"},
		"an aux as gateway": {pools(network.PoolSpec{Subnet: prefix("10.1.2.0/24"), Gateway: addr("10.1.2.5"),
			Aux: map[string]netip.Addr{"x": addr("10.1.2.5")}}), fault.Invalid,
			"failed to allocate secondary ip address (x:10.1.2.5): Address already in use"},
		"an unknown option":   {opt("com.docker.network.bridge.nosuch", "x"), fault.Invalid, "is not known"},
		"no flag":             {opt(network.OptICC, "maybe"), fault.Invalid, "neither true nor false"},
		"a negative MTU":      {opt(network.OptMTU, "-1"), fault.Invalid, "invalid MTU number: -1"},
		"an MTU not a number": {opt(network.OptMTU, "x"), fault.Invalid, "invalid MTU number: x"},
		"an MTU too small":    {opt(network.OptMTU, "67"), fault.Invalid, "invalid MTU number: 67"},
		"too small for IPv6": {network.Draft{Name: "n", IPv6: &on,
			Options: map[string]string{network.OptMTU: "1000"}}, fault.Invalid, "at least 1280"},
		"a long bridge name": {opt(network.OptBridgeName, "a23456789012345b"), fault.Invalid,
			"not a valid interface name"},
		"an invalid binding": {opt(network.OptHostBinding, "x"), fault.Invalid, "not a valid IP address"},
		"too many announcements": {opt(network.OptAnnounceTimes, "4"), fault.Invalid,
			"com.docker.network.advertise_addr_nmsgs must be in the range 0 to 3"},
		"negative announcements": {opt(network.OptAnnounceTimes, "-1"), fault.Invalid, "must be in the range 0 to 3"},
		"a short interval": {opt(network.OptAnnounceEvery, "99"), fault.Invalid,
			"com.docker.network.advertise_addr_ms must be in the range 100 to 2000"},
		"a long interval": {opt(network.OptAnnounceEvery, "2s"), fault.Invalid, "must be in the range 100 to 2000"},
		"isolated but open": {opt(network.OptMode6, "isolated"), fault.Invalid,
			"gateway mode 'isolated' can only be used for an internal network"},
		"no such mode": {opt(network.OptMode4, "foo"), fault.Invalid,
			"failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: foo (unknown gateway mode foo)"},
		"no such 6to4": {opt(network.OptNoProxy, "x"), fault.Invalid, "neither true nor false"},
		"a bad prefix": {opt(network.OptPrefix, "a/b"), fault.Invalid,
			"not a valid start of an interface name"},
	} {
		_, err := c.want.Build()
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %q", name, err, c.text)
		}
	}
}

func TestBuildReportsAllErrors(t *testing.T) {
	w := pools(network.PoolSpec{Subnet: prefix("10.1.2.3/24")})
	w.Options = map[string]string{network.OptMTU: "x", network.OptICC: "x"}
	_, err := w.Build()
	for _, part := range []string{"10.1.2.3/24", "MTU", "enable_icc"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v without %s", err, part)
		}
	}
}

func TestBuildAppliesOptions(t *testing.T) {
	w := network.Draft{ID: id.New(), Name: "n", Internal: true, Labels: map[string]string{"a": "b"},
		Options: map[string]string{network.OptICC: "0",
			network.OptMasquerade: "false", network.OptMTU: "0", network.OptPrefix: "lan",
			network.OptInhibitIPv4: "true",
			network.OptHostBinding: "127.0.0.1", network.OptIPv6: "true"}}
	n, err := w.Build()
	if err != nil {
		t.Fatal(err)
	}

	if n.Bridge().Device != "br-"+w.ID[:12] || n.Driver != "bridge" || !n.Spec.Internal || n.ICC() ||
		n.Bridge().Masquerade ||
		n.Spec.MTU != 1500 || n.Spec.InterfacePrefix != "lan" ||
		!n.Bridge().InhibitIPv4 || n.Bridge().HostBinding != addr("127.0.0.1") || n.Spec.Labels["a"] != "b" {
		t.Errorf("got %+v", n)
	}

	if m := w.UnassignedPools(); len(m) != 2 || m[0].Subnet.String() != "0.0.0.0/0" || m[1].Subnet.String() != "::/0" {
		t.Errorf("got unassigned pools %v", m)
	}

	if m := pools(network.PoolSpec{Subnet: prefix("fd00::/64")}).UnassignedPools(); len(m) != 1 ||
		!m[0].Subnet.Addr().Is4() {
		t.Errorf("with IPv6: got unassigned pools %v", m)
	}

	if m := pools(network.PoolSpec{Subnet: prefix("10.1.0.0/24")}).UnassignedPools(); len(m) != 0 {
		t.Errorf("with IPv4: got unassigned pools %v", m)
	}
}

func TestHostGetsFirstAddress(t *testing.T) {
	for name, c := range map[string]struct {
		pool network.PoolSpec
		want string
	}{
		"of the subnet": {network.PoolSpec{Subnet: prefix("10.1.2.0/24")}, "10.1.2.1 10.1.2.1"},
		"of the range": {network.PoolSpec{Subnet: prefix("10.1.2.0/24"), Range: prefix("10.1.2.128/25")},
			"10.1.2.128 10.1.2.128"},
		"as given": {network.PoolSpec{Subnet: prefix("10.1.2.0/24"), Gateway: addr("10.1.2.9")},
			"10.1.2.9 10.1.2.9"},
		"after an aux": {network.PoolSpec{Subnet: prefix("10.1.2.0/24"),
			Aux: map[string]netip.Addr{"x": addr("10.1.2.1")}}, "10.1.2.2 10.1.2.2"},
		"with another gateway": {network.PoolSpec{Subnet: prefix("10.1.2.0/24"),
			Aux: map[string]netip.Addr{network.AuxGatewayIPv4: addr("10.1.2.254")}}, "10.1.2.1 10.1.2.254"},
		"of IPv6":  {network.PoolSpec{Subnet: prefix("fd00::/64")}, "fd00::1 fd00::1"},
		"of a /31": {network.PoolSpec{Subnet: prefix("10.1.2.0/31")}, "10.1.2.0 10.1.2.0"},
	} {
		p := c.pool.Assign(c.pool.Subnet, true)
		if got := p.Gateway.String() + " " + p.ContainerGatewayAddr().String(); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestSubnetsFromDockerRanges(t *testing.T) {
	space := network.DefaultSpace("seed")
	for want, first := range map[string]string{"0.0.0.0/26": "172.17.0.0/26", "0.0.0.0/16": "172.17.0.0/16"} {
		if got, _, ok := space.Allocate(prefix(want), nil); !ok || got.String() != first {
			t.Errorf("%s: got %s, %v, want %s", want, got, ok, first)
		}
	}

	six, _, ok := space.Allocate(prefix("::/64"), nil)
	other, _, _ := network.DefaultSpace("another").Allocate(prefix("::/64"), nil)
	if !ok || !prefix("fd00::/8").Contains(six.Addr()) || six == other {
		t.Errorf("got IPv6 %s, and %s with another seed", six, other)
	}

	own := network.AddressPools{{Prefix: prefix("10.100.0.0/16"), Bits: 24}}.WithIPv6(space)
	for want, first := range map[string]string{"0.0.0.0/0": "10.100.0.0/24", "0.0.0.0/26": "10.100.0.0/26",
		"::/0": six.String()} {
		if got, limit, ok := own.Allocate(prefix(want), nil); !ok || got.String() != first || limit.IsValid() {
			t.Errorf("configured pool, %s: got %s, %v, want %s", want, got, ok, first)
		}
	}

	if _, _, ok := space.Allocate(prefix("0.0.0.0/8"), nil); ok {
		t.Error("got a /8, want no subnet")
	}
}

// FuzzBuild requests networks with any name, options and subnet. Each is valid or rejected.
func FuzzBuild(f *testing.F) {
	for _, option := range []string{network.OptMTU, network.OptHostBinding, network.OptMode4, network.OptIPv6,
		"com.docker.network.bridge.name",
		"com.docker.network.bridge.trusted_host_interfaces", "com.docker.network.host_ipv4",
		"com.docker.network.container_iface_prefix", "parent", "macvlan_mode"} {
		f.Add("n1", "bridge", option, "1500", "10.0.0.0/24", "10.0.0.0/25", "10.0.0.1", true)
		f.Add("n1", "macvlan", option, "eth0", "fd00::/64", "", "", false)
		f.Add("a/b", "ipvlan", option, "routed", "0.0.0.0/25", "", "", true)
	}

	f.Fuzz(func(t *testing.T, name, driver, option, value, subnet, part, gateway string, internal bool) {
		pool := network.PoolSpec{}
		pool.Subnet, _ = netip.ParsePrefix(subnet)
		pool.Range, _ = netip.ParsePrefix(part)
		pool.Gateway, _ = netip.ParseAddr(gateway)
		n, err := network.Draft{ID: strings.Repeat("a", 64), Name: name, Driver: driver, Internal: internal,
			Options: map[string]string{option: value}, Pools: []network.PoolSpec{pool}}.Build()
		if err != nil {
			if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Denied) &&
				!fault.Is(err, fault.Busy) {
				t.Errorf("got %v, want a fault of the request", err)
			}
			return
		}
		if n.Name == "" || strings.ContainsAny(n.Name, "/: \n\x00") || len(n.Bridge().Device) > 15 ||
			strings.ContainsAny(n.Bridge().Device+n.Spec.InterfacePrefix, "/ \n\x00") {
			t.Errorf("got name %q, bridge %q and prefix %q", n.Name, n.Bridge().Device, n.Spec.InterfacePrefix)
		}
		if n.Spec.MTU < 0 || n.Spec.MTU > 65535 || n.Driver == network.DriverBridge && n.Spec.MTU < 68 {
			t.Errorf("got MTU %d", n.Spec.MTU)
		}
		if s := pool.Subnet; s.IsValid() && s != s.Masked() {
			t.Errorf("got subnet %s", s)
		}
	})
}
