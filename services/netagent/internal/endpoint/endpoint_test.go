package endpoint_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestEndpointErrorsNameValue(t *testing.T) {
	const name = " is not a valid interface name: 1 to 15 characters, no spaces, slashes or colons, not lo"
	for _, c := range []struct {
		s           endpoint.Spec
		field, want string
	}{
		{endpoint.Spec{Network: "-"}, "endpoints", "an endpoint has no network"},
		{endpoint.Spec{IPv4: addr("fd00::1")}, "ip", "invalid IPv4 address: fd00::1"},
		{endpoint.Spec{IPv4: addr("::ffff:10.0.0.1")}, "ip", "invalid IPv4 address: ::ffff:10.0.0.1"},
		{endpoint.Spec{IPv6: addr("10.0.0.1")}, "ip6", "invalid IPv6 address: 10.0.0.1"},
		{endpoint.Spec{IPv6: addr("::ffff:10.0.0.1")}, "ip6", "invalid IPv6 address: ::ffff:10.0.0.1"},
		{endpoint.Spec{IPv6: addr("fe80::1")}, "ip6", "invalid IPv6 address: fe80::1"},
		{endpoint.Spec{IPv6: addr("fd00::1%eth0")}, "ip6", "invalid IPv6 address: fd00::1%eth0"},
		{endpoint.Spec{Interface: "lo"}, "interface", `"lo"` + name},
		{endpoint.Spec{Interface: "eth0:1"}, "interface", `"eth0:1"` + name},
		{endpoint.Spec{Interface: "abcdefghijklmnop"}, "interface", `"abcdefghijklmnop"` + name},
		{endpoint.Spec{LinkLocal: []netip.Addr{addr("10.0.0.1")}}, "link-local-ip",
			"invalid link-local IP address: 10.0.0.1; it is of 169.254.0.0/16 or of fe80::/10"},
		{endpoint.Spec{Sysctls: []string{"net.ipv4.conf.eth0.x=1"}}, "driver-opt",
			"unrecognised network interface sysctl 'net.ipv4.conf.eth0.x=1'; represent 'net.X.Y.ethN.Z=V' as " +
				"'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"},
		{endpoint.Spec{Allowed: []netip.Prefix{{}}}, "allowed-addresses",
			"invalid subnet invalid Prefix in allowed-addresses"},
		{endpoint.Spec{Allowed: []netip.Prefix{prefix("::ffff:10.0.0.0/104")}}, "allowed-addresses",
			"invalid subnet ::ffff:10.0.0.0/104 in allowed-addresses"},
		{endpoint.Spec{MAC: "02:42"}, "mac-address", "02:42 is not a valid mac address"},
		{endpoint.Spec{MAC: "02:00:5e:10:00:00:00:01"}, "mac-address",
			"02:00:5e:10:00:00:00:01 is not a valid mac address"},
		{endpoint.Spec{MAC: "01:00:5e:00:00:01"}, "mac-address",
			"01:00:5e:00:00:01 is not a unicast MAC address"},
		{endpoint.Spec{MAC: "00:00:00:00:00:00"}, "mac-address",
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

	all := endpoint.Spec{Network: "n1", IPv4: addr("10.0.0.2"), IPv6: addr("fd00::2"), MAC: "02-42-0A-00-00-02",
		Interface: "lan0", LinkLocal: []netip.Addr{addr("169.254.1.1")}, Allowed: []netip.Prefix{prefix("10.9.0.0/16")}}
	if err := all.Validate("s"); err != nil || !all.HasStaticAddress() {
		t.Errorf("got %v", err)
	}
}

func TestSandboxRequestErrors(t *testing.T) {
	owner := strings.Repeat("ab", id.Len/2)
	one := endpoint.Spec{Network: "n1", Interface: "eth1"}
	for name, c := range map[string]struct {
		r           endpoint.Request
		field, want string
	}{
		"owner": {endpoint.Request{Owner: "web", Mode: endpoint.Private}, "owner",
			`owner "web": must be 64 lower-case hexadecimal digits`},
		"long owner": {endpoint.Request{Owner: strings.Repeat("x", 100), Mode: endpoint.Private}, "owner",
			`owner "` + strings.Repeat("x", 80) + `…": must be 64 lower-case hexadecimal digits`},
		"mode": {endpoint.Request{Owner: owner, Mode: "bridge"}, "mode",
			"sandbox of abababababab: mode must be private or host"},
		"host with endpoints": {endpoint.Request{Owner: owner, Mode: endpoint.Host,
			Endpoints: []endpoint.Spec{one, one}}, "endpoints",
			"sandbox of abababababab: mode host does not allow endpoints, got 2"},
		"one name twice": {endpoint.Request{Owner: owner, Mode: endpoint.Private,
			Endpoints: []endpoint.Spec{one, {Network: "n2"}, {Network: "n3", Interface: "eth1"}}}, "interface",
			"sandbox of abababababab: interface name eth1 is used twice"},
		"endpoint": {endpoint.Request{Owner: owner, Mode: endpoint.Private,
			Endpoints: []endpoint.Spec{one, {}}}, "endpoints",
			"sandbox of abababababab: an endpoint has no network"},
	} {
		f := invalid(c.r.Validate())
		if f == nil || f.Field != c.field || f.Error() != c.want {
			t.Errorf("%s: got  %v\nwant %s", name, f, c.want)
		}
	}
	for _, r := range []endpoint.Request{{Owner: owner, Mode: endpoint.Host}, {Owner: owner, Mode: endpoint.Private},
		{Owner: owner, Mode: endpoint.Private, Endpoints: []endpoint.Spec{{Network: "a"}, {Network: "b"}}}} {
		if err := r.Validate(); err != nil {
			t.Errorf("%+v: got %v", r, err)
		}
	}
}

func TestSandboxMatchesEqualRequestOnly(t *testing.T) {
	spec := endpoint.Spec{Network: "web", IPv4: addr("10.0.0.2"), Sysctls: []string{"a"}}
	sb := endpoint.Sandbox{Mode: endpoint.Private, Endpoints: []endpoint.Endpoint{{Spec: spec.On("n1")},
		{Spec: endpoint.Spec{Network: "n2"}}}}
	second := endpoint.Spec{Network: "n2"}
	for name, c := range map[string]struct {
		mode  endpoint.Mode
		specs []endpoint.Spec
		want  bool
	}{
		"equal":     {endpoint.Private, []endpoint.Spec{spec.On("n1"), second}, true},
		"mode":      {endpoint.Host, []endpoint.Spec{spec.On("n1"), second}, false},
		"order":     {endpoint.Private, []endpoint.Spec{second, spec.On("n1")}, false},
		"one fewer": {endpoint.Private, []endpoint.Spec{spec.On("n1")}, false},
		"a name":    {endpoint.Private, []endpoint.Spec{spec, second}, false},
		"a sysctl": {endpoint.Private, []endpoint.Spec{{Network: "n1", IPv4: addr("10.0.0.2"),
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

func TestSandboxNames(t *testing.T) {
	sb := endpoint.Sandbox{Owner: strings.Repeat("ab", 32), Endpoints: []endpoint.Endpoint{{ID: "1", NetworkID: "n1"},
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
	replaced := endpoint.Replace(sb.Endpoints, sb.Endpoints[1].WithoutRoutes())
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
	e := endpoint.Endpoint{IPv4: prefix("10.0.0.2/24"), IPv6: prefix("fd00::2/64")}
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
			fmt.Sprint(got.NameServers(network.Network{})) != c.servers {
			t.Errorf("%s: got %v, MTU %d, servers %v", name, got.Addresses(), got.MTU(),
				got.NameServers(network.Network{}))
		}
		own := network.Network{Spec: network.Spec{DNS: []netip.Addr{addr("9.9.9.9")}}}
		if got := got.NameServers(own); !slices.Equal(got, own.Spec.DNS) {
			t.Errorf("%s: got servers %v, want those of the network", name, got)
		}
	}
}

// pool returns a pool whose gateway is the first address.
func pool(subnet string) network.Pool {
	p := prefix(subnet)
	return network.Pool{Subnet: p, Gateway: p.Addr().Next()}
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

// invalid returns the one fault of an error, or nil if it is not an invalid argument.
func invalid(err error) *fault.Fault {
	f := (*fault.Fault)(nil)
	if !errors.As(err, &f) || f.Kind != fault.Invalid || strings.Contains(err.Error(), "\n"+f.Error()) ||
		err.Error() != f.Error() {
		return nil
	}
	return f
}

func subnetsOf(pools []network.Pool) string {
	var out []netip.Prefix
	for _, p := range pools {
		out = append(out, p.Subnet)
	}
	return fmt.Sprint(out)
}
