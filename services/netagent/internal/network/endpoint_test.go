package network_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestEndpointErrorsNameValue(t *testing.T) {
	const name = " is not a valid interface name: 1 to 15 characters, no spaces, slashes or colons, not lo"
	for _, c := range []struct {
		s           network.EndpointSpec
		field, want string
	}{
		{network.EndpointSpec{Network: "-"}, "endpoints", "an endpoint has no network"},
		{network.EndpointSpec{IPv4: addr("fd00::1")}, "ip", "invalid IPv4 address: fd00::1"},
		{network.EndpointSpec{IPv4: addr("::ffff:10.0.0.1")}, "ip", "invalid IPv4 address: ::ffff:10.0.0.1"},
		{network.EndpointSpec{IPv6: addr("10.0.0.1")}, "ip6", "invalid IPv6 address: 10.0.0.1"},
		{network.EndpointSpec{IPv6: addr("::ffff:10.0.0.1")}, "ip6", "invalid IPv6 address: ::ffff:10.0.0.1"},
		{network.EndpointSpec{IPv6: addr("fe80::1")}, "ip6", "invalid IPv6 address: fe80::1"},
		{network.EndpointSpec{IPv6: addr("fd00::1%eth0")}, "ip6", "invalid IPv6 address: fd00::1%eth0"},
		{network.EndpointSpec{Interface: "lo"}, "interface", `"lo"` + name},
		{network.EndpointSpec{Interface: "eth0:1"}, "interface", `"eth0:1"` + name},
		{network.EndpointSpec{Interface: "abcdefghijklmnop"}, "interface", `"abcdefghijklmnop"` + name},
		{network.EndpointSpec{LinkLocal: []netip.Addr{addr("10.0.0.1")}}, "link-local-ip",
			"invalid link-local IP address: 10.0.0.1; it is of 169.254.0.0/16 or of fe80::/10"},
		{network.EndpointSpec{Sysctls: []string{"net.ipv4.conf.eth0.x=1"}}, "driver-opt",
			"unrecognised network interface sysctl 'net.ipv4.conf.eth0.x=1'; represent 'net.X.Y.ethN.Z=V' as " +
				"'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"},
		{network.EndpointSpec{Allowed: []netip.Prefix{{}}}, "allowed-addresses",
			"invalid subnet invalid Prefix in allowed-addresses"},
		{network.EndpointSpec{Allowed: []netip.Prefix{prefix("::ffff:10.0.0.0/104")}}, "allowed-addresses",
			"invalid subnet ::ffff:10.0.0.0/104 in allowed-addresses"},
		{network.EndpointSpec{MAC: "02:42"}, "mac-address", "02:42 is not a valid mac address"},
		{network.EndpointSpec{MAC: "02:00:5e:10:00:00:00:01"}, "mac-address",
			"02:00:5e:10:00:00:00:01 is not a valid mac address"},
		{network.EndpointSpec{MAC: "01:00:5e:00:00:01"}, "mac-address",
			"01:00:5e:00:00:01 is not a unicast MAC address"},
		{network.EndpointSpec{MAC: "00:00:00:00:00:00"}, "mac-address",
			"00:00:00:00:00:00 is not a unicast MAC address"},
	} {
		if c.s.Network = strings.TrimPrefix(c.s.Network, "-"); c.field != "endpoints" {
			c.s.Network = "n1"
		}
		f := invalid(c.s.Validate("sandbox of web"))
		if f == nil || f.Field != c.field || f.Error() != "sandbox of web: "+c.want {
			t.Errorf("got  %v\nwant sandbox of web: %s", f, c.want)
		}
	}

	all := network.EndpointSpec{Network: "n1", IPv4: addr("10.0.0.2"), IPv6: addr("fd00::2"), MAC: "02-42-0A-00-00-02",
		Interface: "lan0", LinkLocal: []netip.Addr{addr("169.254.1.1")}, Allowed: []netip.Prefix{prefix("10.9.0.0/16")}}
	if err := all.Validate("s"); err != nil || !all.HasStaticAddress() {
		t.Errorf("got %v", err)
	}
}

func TestSandboxRequestErrors(t *testing.T) {
	owner := strings.Repeat("ab", id.Len/2)
	one := network.EndpointSpec{Network: "n1", Interface: "eth1"}
	for name, c := range map[string]struct {
		r           network.Request
		field, want string
	}{
		"owner": {network.Request{Owner: "web", Mode: network.Private}, "owner",
			`owner "web": must be 64 lower-case hexadecimal digits`},
		"long owner": {network.Request{Owner: strings.Repeat("x", 100), Mode: network.Private}, "owner",
			`owner "` + strings.Repeat("x", 80) + `…": must be 64 lower-case hexadecimal digits`},
		"mode": {network.Request{Owner: owner, Mode: "bridge"}, "mode",
			"sandbox of abababababab: mode must be private or host"},
		"host with endpoints": {network.Request{Owner: owner, Mode: network.Host,
			Endpoints: []network.EndpointSpec{one, one}}, "endpoints",
			"sandbox of abababababab: mode host does not allow endpoints, got 2"},
		"one name twice": {network.Request{Owner: owner, Mode: network.Private,
			Endpoints: []network.EndpointSpec{one, {Network: "n2"}, {Network: "n3", Interface: "eth1"}}}, "interface",
			"sandbox of abababababab: interface name eth1 is used twice"},
		"endpoint": {network.Request{Owner: owner, Mode: network.Private,
			Endpoints: []network.EndpointSpec{one, {}}}, "endpoints",
			"sandbox of abababababab: an endpoint has no network"},
	} {
		f := invalid(c.r.Validate())
		if f == nil || f.Field != c.field || f.Error() != c.want {
			t.Errorf("%s: got  %v\nwant %s", name, f, c.want)
		}
	}
	for _, r := range []network.Request{{Owner: owner, Mode: network.Host}, {Owner: owner, Mode: network.Private},
		{Owner: owner, Mode: network.Private, Endpoints: []network.EndpointSpec{{Network: "a"}, {Network: "b"}}}} {
		if err := r.Validate(); err != nil {
			t.Errorf("%+v: got %v", r, err)
		}
	}
}

func TestSandboxMatchesEqualRequestOnly(t *testing.T) {
	spec := network.EndpointSpec{Network: "web", IPv4: addr("10.0.0.2"), Sysctls: []string{"a"}}
	sb := network.Sandbox{Mode: network.Private, Endpoints: []network.Endpoint{{Spec: spec.On("n1")},
		{Spec: network.EndpointSpec{Network: "n2"}}}}
	second := network.EndpointSpec{Network: "n2"}
	for name, c := range map[string]struct {
		mode  network.Mode
		specs []network.EndpointSpec
		want  bool
	}{
		"equal":     {network.Private, []network.EndpointSpec{spec.On("n1"), second}, true},
		"mode":      {network.Host, []network.EndpointSpec{spec.On("n1"), second}, false},
		"order":     {network.Private, []network.EndpointSpec{second, spec.On("n1")}, false},
		"one fewer": {network.Private, []network.EndpointSpec{spec.On("n1")}, false},
		"a name":    {network.Private, []network.EndpointSpec{spec, second}, false},
		"a sysctl": {network.Private, []network.EndpointSpec{{Network: "n1", IPv4: addr("10.0.0.2"),
			Sysctls: []string{"b"}}, second}, false},
	} {
		if got := sb.Matches(c.mode, c.specs); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if spec.Network != "web" {
		t.Errorf("On changed the request to %s", spec.Network)
	}
}

// TestHostEndNamesProperty derives names and MAC addresses from IDs and recognizes them.
func TestHostEndNamesProperty(t *testing.T) {
	digits := rapid.StringMatching(`[0-9a-f]{64}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := digits.Draw(t, "a"), digits.Draw(t, "b")
		name, mac := network.HostInterface(a), network.HostMAC(a)
		if !network.IsHostEnd(name, mac) || !network.IsHostInterface(name) || len(name) > 15 || mac[0]&1 != 0 {
			t.Fatalf("%s, %s is not recognized", name, mac)
		}
		if same := a[:7] == b[:7]; network.IsHostEnd(name, network.HostMAC(b)) != same {
			t.Fatalf("%s with the MAC address of %s: got %v", name, b, !same)
		}
		if alias := network.Alias(a, b); !network.AliasIsOf(alias, a) ||
			network.AliasIsOf(alias, b) != (a[:12] == b[:12]) {
			t.Fatalf("alias %s of network %s", alias, a)
		}
		if bridge := network.DefaultBridge(a); len(bridge) != 15 || bridge != "br-"+a[:12] {
			t.Fatalf("got bridge %s", bridge)
		}
		if m := network.DHCPClientMAC(a, b); m[0] != 2 || len(m) != 6 ||
			!bytes.Equal(m, network.DHCPClientMAC(a, b)) || a != b && bytes.Equal(m, network.DHCPClientMAC(b, a)) {
			t.Fatalf("got DHCP client %s", m)
		}
	})
	if mac := network.HostMAC("not hexadecimal"); mac != nil {
		t.Errorf("got %s for an invalid ID", mac)
	}
	for _, name := range []string{"eth0", "veth", "veth123456", "veth12345678", "vEth1234567"} {
		if network.IsHostEnd(name, network.HostMAC(strings.Repeat("1", 64))) || network.IsHostInterface(name) {
			t.Errorf("%s is recognized", name)
		}
	}
}

func TestFreeInterfaceFillsGaps(t *testing.T) {
	sb := network.Sandbox{Endpoints: []network.Endpoint{{Interface: "eth0"}, {Interface: "eth2"}, {Interface: "lan0"}}}
	for prefix, want := range map[string]string{"": "eth1", "eth": "eth1", "lan": "lan1", "wan": "wan0"} {
		if got := network.FreeInterface(prefix, sb.Interfaces()); got != want {
			t.Errorf("%q: got %s, want %s", prefix, got, want)
		}
	}
}

func TestSandboxNames(t *testing.T) {
	sb := network.Sandbox{Owner: strings.Repeat("ab", 32), Endpoints: []network.Endpoint{{ID: "1", NetworkID: "n1"},
		{ID: "2", NetworkID: "n2", Gateway4: addr("10.0.0.1")}}}
	if sb.DisplayName() != "abababababab" || sb.Subject() != "sandbox of abababababab" {
		t.Errorf("got %s, %s without a name", sb.DisplayName(), sb.Subject())
	}
	if sb.OwnerName = "web"; sb.DisplayName() != "web" || sb.Subject() != "sandbox of abababababab" {
		t.Errorf("got %s, %s", sb.DisplayName(), sb.Subject())
	}
	if e, ok := sb.EndpointOn("n2"); !ok || e.ID != "2" {
		t.Errorf("got %+v, %v", e, ok)
	}
	if e, ok := sb.EndpointOn("n3"); ok || e.ID != "" {
		t.Errorf("got %+v, %v on another network", e, ok)
	}
	replaced := network.ReplaceEndpoint(sb.Endpoints, sb.Endpoints[1].WithoutRoutes())
	if replaced[1].Gateway4.IsValid() || !sb.Endpoints[1].Gateway4.IsValid() || replaced[0].ID != "1" {
		t.Errorf("got %+v from %+v", replaced, sb.Endpoints)
	}
	if got := fmt.Sprint(sb.NetworkIDs()); got != "[n1 n2]" {
		t.Errorf("got networks %s", got)
	}
}

func TestEndpointFollowsLeases(t *testing.T) {
	four := &lease.Terms{Address: prefix("10.0.0.9/24"), MTU: 1400, Servers: []netip.Addr{addr("10.0.0.53")}}
	six := &lease.Terms{Address: prefix("fd00::9/64"), MTU: 1300, Servers: []netip.Addr{addr("fd00::53")}}
	e := network.Endpoint{IPv4: prefix("10.0.0.2/24"), IPv6: prefix("fd00::2/64")}
	for name, c := range map[string]struct {
		four, six *lease.Terms
		addresses string
		mtu       int
		servers   string
	}{
		"both":    {four, six, "[10.0.0.9/24 fd00::9/64]", 1300, "[10.0.0.53 fd00::53]"},
		"IPv4":    {four, nil, "[10.0.0.9/24]", 1400, "[10.0.0.53]"},
		"no MTU":  {&lease.Terms{Address: prefix("10.0.0.9/24")}, nil, "[10.0.0.9/24]", 0, "[]"},
		"neither": {nil, nil, "[]", 0, "[]"},
	} {
		got := e.WithLeases(c.four, c.six)
		if fmt.Sprint(got.Addresses()) != c.addresses || got.MTU() != c.mtu ||
			fmt.Sprint(network.Network{}.NameServersFor(got)) != c.servers {
			t.Errorf("%s: got %v, MTU %d, servers %v", name, got.Addresses(), got.MTU(),
				network.Network{}.NameServersFor(got))
		}
		own := network.Network{Spec: network.Spec{DNS: []netip.Addr{addr("9.9.9.9")}}}
		if got := own.NameServersFor(got); !slices.Equal(got, own.Spec.DNS) {
			t.Errorf("%s: got servers %v, want those of the network", name, got)
		}
	}
}
