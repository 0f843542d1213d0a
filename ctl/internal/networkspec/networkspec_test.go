package networkspec_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/ctl/internal/networkspec"
)

func TestParseNetworkOptions(t *testing.T) {
	for spec, want := range map[string]networkspec.Attachment{
		"n1":            {Network: "n1"},
		"container:web": {Network: "container:web"},
		"name=n1":       {Network: "n1"},
		"name=n1,ip=10.0.0.5,ip6=fd00:0::5,mac-address=02-42-AC-11-00-02,alias=a,alias=b,gw-priority=-7": {
			Network: "n1", IPv4: "10.0.0.5", IPv6: "fd00::5",
			MAC: "02:42:ac:11:00:02", Aliases: []string{"a", "b"}, Priority: -7},
		"name=n1,driver-opt=com.docker.network.endpoint.ifname=lan0": {Network: "n1", Interface: "lan0"},
		`name=n1,link-local-ip=169.254.7.7,link-local-ip=fe80:0::7,"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.a=1,net.ipv6.conf.IFNAME.b=2"`: {
			Network: "n1", LinkLocal: []string{"169.254.7.7",
				"fe80::7"}, Sysctls: []string{"net.ipv4.conf.IFNAME.a=1", "net.ipv6.conf.IFNAME.b=2"}},
	} {
		got, err := networkspec.Parse(spec)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v, want - got +:\n%s", spec, err, d)
		}
		if got.IsBare() != !strings.Contains(spec, ",") {
			t.Errorf("%s is plain: %v", spec, got.IsBare())
		}
	}
}

func TestParseRejectsInvalidNetworks(t *testing.T) {
	for spec, want := range map[string]string{
		"":                               "network name is empty",
		"ip=10.0.0.5":                    "network name/id is not specified",
		"name=n1,ip":                     "write KEY=VALUE",
		"name=n1,ip=x":                   "invalid IP address: x",
		"name=n1,ip=fd00::1":             "invalid IP address: fd00::1",
		"name=n1,ip6=10.0.0.5":           "invalid IP address: 10.0.0.5",
		"name=n1,ip6=fe80::1%eth0":       "invalid IP address",
		"name=n1,mac-address=xx":         "xx is not a valid mac address",
		"name=n1,gw-priority=9999999999": "invalid gw-priority",
		"name=n1,driver-opt=a=b":         "invalid driver-opt a=b",
		"name=n1,link-local-ip=10.0.0.5": "invalid link-local IP address: 10.0.0.5",
		"name=n1,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.a=1,net.ipv4.b=2": "in double quotes",
		"name=n1,nosuch=1": "unexpected key 'nosuch'",
		`name="n1`:         "cannot be read",
	} {
		if _, err := networkspec.Parse(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
}

func TestParseLink(t *testing.T) {
	for spec, want := range map[string][2]string{"web": {"web"}, "web:site": {"web", "site"}, "": {}, ":site": {},
		"web:": {}, "a:b:c": {}} {
		to, alias, err := networkspec.Link(spec)
		if to != want[0] || alias != want[1] || (err == nil) != (want[0] != "") {
			t.Errorf("%q: %q, %q, %v", spec, to, alias, err)
		}
	}
}

func TestPoolsAssignAddressesToSubnets(t *testing.T) {
	got, err := networkspec.Pools([]string{"10.1.0.0/16", "fd00::/64"}, []string{"10.1.2.0/24"},
		[]string{"fd00::9", "10.1.0.9"}, []string{"a=10.1.0.5", "b=10.1.0.6"})
	want := []networkspec.Pool{{Subnet: "10.1.0.0/16", Range: "10.1.2.0/24", Gateway: "10.1.0.9",
		Aux: map[string]string{"a": "10.1.0.5", "b": "10.1.0.6"}},
		{Subnet: "fd00::/64", Gateway: "fd00::9"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v, want - got +:\n%s", err, d)
	}

	for _, c := range []struct {
		subnets, ranges, gateways, aux []string
		want                           string
	}{
		{nil, []string{"10.1.0.0/24"}, nil, nil, "every ip-range or gateway must have a corresponding subnet"},
		{nil, nil, nil, []string{"a=10.1.0.5"}, "no matching subnet for aux-address 10.1.0.5"},
		{[]string{"x"}, nil, nil, nil, "invalid CIDR block: x"},
		{[]string{"10.1.0.0/16", "10.1.2.0/24"}, nil, nil, nil,
			"multiple overlapping subnet configuration is not supported"},
		{[]string{"10.1.0.0/16"}, []string{"10.2.0.0/24"}, nil, nil, "no matching subnet for range 10.2.0.0/24"},
		{[]string{"10.1.0.0/16"}, nil, []string{"10.2.0.1"}, nil, "no matching subnet for gateway 10.2.0.1"},
		{[]string{"10.1.0.0/16"}, nil, []string{"10.1.0.1", "10.1.0.2"}, nil,
			"no matching subnet for gateway 10.1.0.2"},
		{[]string{"10.1.0.0/16"}, nil, nil, []string{"10.1.0.1"}, "no matching subnet for aux-address"},
	} {
		if _, err := networkspec.Pools(c.subnets, c.ranges, c.gateways, c.aux); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestParseKeyValuesRejectsDuplicates(t *testing.T) {
	got, err := networkspec.ParseKeyValues("label", []string{"a=b=c", "d"})
	if d := cmp.Diff(map[string]string{"a": "b=c", "d": ""}, got); d != "" || err != nil {
		t.Errorf("%v, %s", err, d)
	}
	for _, bad := range [][]string{{"=x"}, {"a", "a=b"}} {
		if _, err := networkspec.ParseKeyValues("label", bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("name=n1,ip=10.0.0.5,alias=a")
	f.Add(`name="a,b"`)
	f.Fuzz(func(t *testing.T, spec string) {
		if a, err := networkspec.Parse(spec); err == nil && a.Network == "" {
			t.Errorf("%q names no network", spec)
		}
	})
}

func FuzzPools(f *testing.F) {
	f.Add("10.0.0.0/24", "fd00::/64", "10.0.0.0/25", "10.0.0.1", "x=10.0.0.2")
	f.Add("0.0.0.0/24", "::/64", "fd00::/80", "fd00::1", "=::")
	f.Add("10.0.0.0/8", "10.0.0.0/9", "", "", "")
	f.Fuzz(func(t *testing.T, one, two, part, gateway, aux string) {
		pools, err := networkspec.Pools([]string{one, two}, []string{part}, []string{gateway}, []string{aux})
		if err != nil {
			return
		}

		placed := 0
		for _, p := range pools {
			s, err := netip.ParsePrefix(p.Subnet)
			if err != nil {
				t.Fatalf("%q is taken for a subnet: %v", p.Subnet, err)
			}
			for _, text := range append(slices.Collect(maps.Values(p.Aux)), p.Gateway) {
				if text == "" {
					continue
				}
				placed++
				if a, err := netip.ParseAddr(text); err != nil || !s.Contains(a) && !s.Addr().IsUnspecified() {
					t.Errorf("%q is put into %s: %v", text, s, err)
				}
			}
		}

		if len(pools) != 2 || placed != 2 {
			t.Errorf("got %d pools with %d addresses, want 2 with 2: %+v", len(pools), placed, pools)
		}
	})
}

func FuzzMap(f *testing.F) {
	f.Add("a=b", "c")
	f.Add("=", "a=b=c")
	f.Fuzz(func(t *testing.T, one, two string) {
		m, err := networkspec.ParseKeyValues("label", []string{one, two})
		if _, empty := m[""]; err == nil && (len(m) != 2 || empty) {
			t.Errorf("%q and %q gave %q", one, two, m)
		}
	})
}
