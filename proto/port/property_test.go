package port_test

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/port"
)

func TestAddressBracketsMustMatch(t *testing.T) {
	for _, spec := range []string{"[192.0.2.1", "192.0.2.1]", "[192.0.2.1]", "[[fd00::1]]", "[fd00::1", "", "[]"} {
		_, err := port.ParseAddress(spec)
		if want := "--publish-address " + spec + ": invalid IP address: " + spec; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestPublishErrorsNameFlag(t *testing.T) {
	for spec, want := range map[string]string{
		"8080:":               "-p 8080:: no port specified: 8080:<empty>",
		"8080:80/icmp":        "-p 8080:80/icmp: invalid proto: icmp",
		"8080:0":              "-p 8080:0: invalid containerPort: 0",
		"80-70":               "-p 80-70: invalid containerPort: 80-70",
		"8080:80,to=10.0.0.1": `-p 8080:80,to=10.0.0.1: unknown option "to=10.0.0.1": use from=CIDR`,
		"8080:80,from=": `-p 8080:80,from=: invalid source "":` +
			` it should be a network such as 10.0.0.0/8, or an address`,
		"80,from=10.0.0.1/8": `-p 80,from=10.0.0.1/8: invalid source "10.0.0.1/8": it should be 10.0.0.0/8`,
		"224.0.0.1:80:80":    "-p 224.0.0.1:80:80: invalid IP address: 224.0.0.1",
		"[10.0.0.1]:80:80":   "-p [10.0.0.1]:80:80: invalid IP address: [10.0.0.1]",
		"fe80::1%eth0:80:80": "-p fe80::1%eth0:80:80: invalid IP address: fe80::1%eth0",
		"8080-8081:80-82/tcp": "-p 8080-8081:80-82/tcp: " +
			"invalid ranges specified for container and host Ports: 80-82 and 8080-8081",
		"localhost:8080:80": "-p localhost:8080:80: invalid IP address: localhost",
		"8080:http":         "-p 8080:http: invalid containerPort: http",
		"65536:80":          "-p 65536:80: invalid hostPort: 65536",
		"8080:80/tcp/udp":   "-p 8080:80/tcp/udp: invalid proto: tcp/udp",
	} {
		if m, err := port.Parse(spec); err == nil || err.Error() != want {
			t.Errorf("got  %v, %v\nwant %s", m, err, want)
		}
	}
}

// TestBindingsSortProperty sorts bindings in any order to one order.
func TestBindingsSortProperty(t *testing.T) {
	binding := rapid.Custom(func(t *rapid.T) port.Binding {
		return port.Binding{Protocol: rapid.SampledFrom([]port.Protocol{"tcp", "udp"}).Draw(t, "protocol"),
			HostIP:    rapid.SampledFrom([]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}).Draw(t, "ip"),
			Host:      port.Single(rapid.Uint16Range(1, 3).Draw(t, "host")),
			Container: port.Single(rapid.Uint16Range(1, 3).Draw(t, "container"))}
	})
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(binding, 0, 8).Draw(t, "bindings")
		one, two := slices.Clone(all), rapid.Permutation(all).Draw(t, "order")
		port.Sort(one)
		port.Sort(two)
		if !slices.Equal(one, two) {
			t.Fatalf("got %v and %v", one, two)
		}
		for i := 1; i < len(one); i++ {
			if one[i-1].Container.First > one[i].Container.First {
				t.Fatalf("got %v before %v", one[i-1], one[i])
			}
		}
	})
}

func TestBindingSubjects(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	own := netip.MustParseAddr("10.0.0.2")
	for want, b := range map[string]port.Binding{
		"port 192.0.2.1:8080/tcp": {Protocol: "tcp", HostIP: ip, Host: port.Single(8080), ContainerIP: own,
			Container: port.Single(80)},
		"ports 192.0.2.1:8080-8082/udp": {Protocol: "udp", HostIP: ip, Host: port.Range{First: 8080, Last: 8082}},
		"port [::]:53/udp":              {Protocol: "udp", HostIP: netip.IPv6Unspecified(), Host: port.Single(53)},
		"address 192.0.2.1":             {Protocol: port.All, HostIP: ip},
	} {
		if b.Subject() != want || b.Direct() {
			t.Errorf("got %s, direct %v, want %s", b.Subject(), b.Direct(), want)
		}
	}
	direct := port.Binding{Protocol: "tcp", HostIP: own, ContainerIP: own, Host: port.Single(80),
		Container: port.Single(80)}
	if !direct.Direct() || direct.Target().String() != "10.0.0.2:80" || direct.HostPort() != direct.Target() ||
		(port.Binding{}).Direct() {
		t.Errorf("got target %s of %+v", direct.Target(), direct)
	}
}

func TestOverlapOfHostAddresses(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"10.0.0.1", "10.0.0.1", true}, {"10.0.0.1", "10.0.0.2", false}, {"0.0.0.0", "10.0.0.1", true},
		{"::", "10.0.0.1", false}, {"::", "0.0.0.0", false}, {"::", "fd00::1", true}, {"fd00::1", "fd00::2", false}} {
		a, b := netip.MustParseAddr(c.a), netip.MustParseAddr(c.b)
		if port.Overlap(a, b) != c.want || port.Overlap(b, a) != c.want {
			t.Errorf("%s and %s: got %v, want %v", a, b, port.Overlap(a, b), c.want)
		}
	}
}

// TestSourcesProperty compares sets of networks with their definition, address by address.
func TestSourcesProperty(t *testing.T) {
	network := rapid.SampledFrom([]string{"10.0.0.0/30", "10.0.0.4/30", "10.0.0.0/29", "10.0.0.1", "fd00::/126",
		"fd00::1", "fd00::4/127"})
	var probes []netip.Addr
	for i := range byte(10) {
		probes = append(probes, netip.AddrFrom4([4]byte{10, 0, 0, i}), netip.AddrFrom16([16]byte{0: 0xfd, 15: i}))
	}
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(network, 1, 5).Draw(t, "a")
		a, err := port.ParseSources(texts)
		if err != nil {
			t.Fatal(err)
		}
		b, err := port.ParseSources(rapid.SliceOfN(network, 1, 3).Draw(t, "b"))
		if err != nil {
			t.Fatal(err)
		}
		if same, _ := port.ParseSources(rapid.Permutation(texts).Draw(t, "order")); same != a {
			t.Fatalf("got %s and %s for one set", a, same)
		}

		four, has4 := a.ForFamily(netip.IPv4Unspecified())
		six, has6 := a.ForFamily(netip.IPv6Unspecified())
		for _, p := range probes {
			in := slices.ContainsFunc(texts, func(s string) bool {
				one, _ := port.ParseSources([]string{s})
				return one.Contains(p)
			})
			if a.Contains(p) != in || a.Union(b).Contains(p) != (in || b.Contains(p)) {
				t.Fatalf("%s or %s: %s is in %v, in the union %v", a, b, p, a.Contains(p), a.Union(b).Contains(p))
			}
			part, has := six, has6
			if p.Is4() {
				part, has = four, has4
			}
			if (has && part.Contains(p)) != in {
				t.Fatalf("%s: %s is in the part %q of its family: %v", a, p, part, has)
			}
		}
	})
}
