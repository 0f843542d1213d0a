package publication_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// tcp returns a mapping. An end of 0 means a single port.
func tcp(hostIP string, host, hostEnd, ctr, ctrEnd uint16) port.Mapping {
	return port.Mapping{Protocol: port.TCP, HostIP: address(hostIP), Host: span(host, hostEnd),
		Container: span(ctr, ctrEnd)}
}

// span returns a range. An end of 0 means a single port.
func span(first, end uint16) port.Range {
	if end == 0 {
		return port.Single(first)
	}
	return port.Range{First: first, Last: end}
}

// address parses an address; empty means none.
func address(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

func of(v4, v6 string, mappings ...port.Mapping) *publication.Publication {
	p := &publication.Publication{OwnerName: "web", Mappings: mappings}
	p.IPv4, _ = netip.ParseAddr(v4)
	p.IPv6, _ = netip.ParseAddr(v6)
	return p
}

// from limits the allowed sources of m.
func from(set port.Sources, m port.Mapping) port.Mapping {
	m.Sources = set
	return m
}

// text formats a plan as "HOST_IPS HOST_PORTS>CONTAINER_PORT/PROTOCOL; ...".
func text(plan []publication.PortRequest) string {
	var out []string
	for _, w := range plan {
		var ips []string
		for _, ip := range w.HostIPs {
			ips = append(ips, ip.String())
		}
		out = append(out, fmt.Sprintf("%s %d-%d>%d/%s", strings.Join(ips, ","), w.Host.First, w.Host.Last,
			w.ContainerPort, w.Protocol))
	}
	return strings.Join(out, "; ")
}

// routed returns a publication on a network that is routed for the given families.
func routed(v4, v6 bool, mappings ...port.Mapping) *publication.Publication {
	p := of("10.0.0.2", "fd00::2", mappings...)
	p.Routed4, p.Routed6 = v4, v6
	return p
}

func TestResolveRoutedIsDirect(t *testing.T) {
	for _, row := range []struct {
		name     string
		p        *publication.Publication
		hostIPv6 bool
		want     string
	}{
		{"host port ignored", routed(true, true, tcp("", 8080, 0, 80, 0)), true,
			"10.0.0.2 80-80>80/tcp; fd00::2 80-80>80/tcp"},
		{"host without IPv6", routed(true, true, tcp("", 0, 0, 80, 0)), false,
			"10.0.0.2 80-80>80/tcp; fd00::2 80-80>80/tcp"},
		{"one family", routed(false, true, tcp("", 8080, 0, 80, 0)), true,
			"0.0.0.0 8080-8080>80/tcp; fd00::2 80-80>80/tcp"},
		{"one family, ephemeral port", routed(true, false, tcp("", 0, 0, 80, 0)), true,
			"10.0.0.2 80-80>80/tcp; :: 0-0>80/tcp"},
		{"all of a family", routed(true, true, tcp("::", 0, 0, 80, 0)), true, "fd00::2 80-80>80/tcp"},
		{"an address of the other family", routed(false, true, tcp("192.168.8.115", 0, 0, 80, 0)), true,
			"192.168.8.115 0-0>80/tcp"},
		{"twice", routed(true, false, tcp("0.0.0.0", 1, 0, 80, 0), tcp("0.0.0.0", 2, 0, 80, 0)), true,
			"10.0.0.2 80-80>80/tcp"},
		{"a short range", routed(true, false, tcp("0.0.0.0", 0, 0, 80, 81)), true,
			"10.0.0.2 80-80>80/tcp; 10.0.0.2 81-81>81/tcp"},
		{"a long range and a port in it", routed(true, false, tcp("0.0.0.0", 7, 0, 1050, 0),
			tcp("0.0.0.0", 0, 0, 1000, 1100)), true, "10.0.0.2 1000-1100>1000/tcp"},
		{"the container's own address, not routed", of("10.0.0.2", "", tcp("10.0.0.2", 80, 0, 80, 0)), true,
			"10.0.0.2 80-80>80/tcp"},
	} {
		plan, err := publication.Resolve(row.p, row.hostIPv6)
		if got := text(plan); err != nil || got != row.want {
			t.Errorf("%s: got %q, %v; want %q", row.name, got, err, row.want)
		}
		for _, w := range plan {
			for _, b := range w.Bindings(row.p, w.Host.First) {
				if w.Direct != (row.p.Routed4 && b.HostIP == row.p.IPv4 || row.p.Routed6 && b.HostIP == row.p.IPv6) ||
					w.Direct && !b.Direct() {
					t.Errorf("%s: %+v of %+v", row.name, b, w)
				}
			}
		}
	}

	whole := routed(true, false)
	whole.Addresses = []port.Address{{HostIP: address("192.168.8.115")}}
	for want, p := range map[string]*publication.Publication{
		"publish 127.0.0.1:8080:80/tcp: the container's gateway mode is routed; omit the host address and connect " +
			"to 10.0.0.2": routed(true, true, tcp("127.0.0.1", 8080, 0, 80, 0)),
		"container port 1010/tcp is published twice": routed(true, false,
			from("10.1.0.0/16", tcp("0.0.0.0", 0, 0, 1010, 0)), tcp("0.0.0.0", 0, 0, 1000, 1100)),
		"the container's gateway mode is routed; connect to 10.0.0.2": whole,
	} {
		if _, err := publication.Resolve(p, true); !fault.Is(err, fault.Invalid) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, row := range []struct {
		name     string
		p        *publication.Publication
		hostIPv6 bool
		want     string
	}{
		{"ephemeral port", of("10.0.0.2", "", tcp("", 0, 0, 80, 0)), true, "0.0.0.0 0-0>80/tcp"},
		{"both families, one port", of("10.0.0.2", "fd00::2", tcp("", 8080, 0, 80, 0)), true,
			"0.0.0.0,:: 8080-8080>80/tcp"},
		{"a host without IPv6", of("10.0.0.2", "fd00::2", tcp("", 8080, 0, 80, 0)), false, "0.0.0.0 8080-8080>80/tcp"},
		{"only IPv6", of("", "fd00::2", tcp("", 8080, 0, 80, 0)), true, ":: 8080-8080>80/tcp"},
		{"one address", of("10.0.0.2", "fd00::2", tcp("192.168.8.115", 0, 0, 80, 0)), true, "192.168.8.115 0-0>80/tcp"},
		{"all of IPv4 only", of("10.0.0.2", "fd00::2", tcp("0.0.0.0", 1, 0, 80, 0)), true, "0.0.0.0 1-1>80/tcp"},
		{"ranges", of("10.0.0.2", "", tcp("", 8000, 8001, 80, 81)), true,
			"0.0.0.0 8000-8000>80/tcp; 0.0.0.0 8001-8001>81/tcp"},
		{"first free of a range", of("10.0.0.2", "", tcp("", 90, 91, 92, 0)), true, "0.0.0.0 90-91>92/tcp"},
		{"ephemeral range", of("10.0.0.2", "", tcp("", 0, 0, 80, 81)), true, "0.0.0.0 0-0>80/tcp; 0.0.0.0 0-0>81/tcp"},
		{"fixed before ephemeral", of("10.0.0.2", "", tcp("", 0, 0, 80, 0), tcp("", 40000, 0, 81, 0)), true,
			"0.0.0.0 40000-40000>81/tcp; 0.0.0.0 0-0>80/tcp"},
		{"the same twice", of("10.0.0.2", "", tcp("", 81, 0, 80, 0), tcp("", 81, 0, 80, 0)), true,
			"0.0.0.0 81-81>80/tcp"},
		{"the last ports", of("10.0.0.2", "", tcp("", 65534, 65535, 65534, 65535)), true,
			"0.0.0.0 65534-65534>65534/tcp; 0.0.0.0 65535-65535>65535/tcp"},
		{"nothing", of("10.0.0.2", ""), true, ""},
		{"sources of one family", of("10.0.0.2", "fd00::2", from("10.0.0.0/8", tcp("", 1, 0, 80, 0))), true,
			"0.0.0.0 1-1>80/tcp"},
		{"sources of both", of("10.0.0.2", "fd00::2", from("10.0.0.0/8,fd00::/8", tcp("", 1, 0, 80, 0))), true,
			"0.0.0.0,:: 1-1>80/tcp"},
	} {
		t.Run(row.name, func(t *testing.T) {
			plan, err := publication.Resolve(row.p, row.hostIPv6)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(plan); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}

func TestResolveRejectsInvalid(t *testing.T) {
	udp := port.Mapping{Protocol: "foo", Container: port.Single(80)}
	for _, row := range []struct {
		p    *publication.Publication
		want string
	}{
		{of("10.0.0.2", "", tcp("", 0, 0, 0, 0)), "publish 0/tcp: invalid containerPort: 0"},
		{of("10.0.0.2", "", tcp("", 9, 8, 80, 0)), "publish 9-8:80/tcp: invalid hostPort: 9-8"},
		{of("10.0.0.2", "", tcp("", 0, 8, 80, 0)), "publish 0-8:80/tcp: invalid hostPort: 0-8"},
		{of("10.0.0.2", "", tcp("", 8000, 8002, 80, 81)),
			"publish 8000-8002:80-81/tcp: invalid ranges specified for container and host Ports: 80-81 and 8000-8002"},
		{of("10.0.0.2", "", tcp("fe80::1%eth0", 0, 0, 80, 0)),
			"publish [fe80::1%eth0]::80/tcp: invalid IP address: fe80::1%eth0"},
		{of("10.0.0.2", "", tcp("224.0.0.1", 0, 0, 80, 0)), "publish 224.0.0.1::80/tcp: invalid IP address: 224.0.0.1"},
		{of("10.0.0.2", "", udp), "publish 80/foo: invalid proto: foo"},
		{of("10.0.0.2", "", tcp("::1", 0, 0, 80, 0)),
			"publish [::1]::80/tcp: the container has no IPv6 address; enable it with " +
				"'fairlead network update --ipv6 " +
				"NAME'"},
		{of("", "fd00::2", tcp("10.1.1.1", 0, 0, 80, 0)),
			"publish 10.1.1.1::80/tcp: the container has no IPv4 address"},
		{of("", "", tcp("", 0, 0, 80, 0)),
			"publish 80/tcp: the container has no address that is reachable from the host"},
		{of("10.0.0.2", "", tcp("", 81, 0, 80, 0), tcp("10.1.1.1", 81, 0, 80, 0)),
			"publish 10.1.1.1:81:80/tcp: host port 81/tcp is requested twice, also by 81:80/tcp"},
		{of("10.0.0.2", "fd00::2", from("fd00::/8", tcp("10.1.1.1", 1, 0, 80, 0))),
			"publish 10.1.1.1:1:80/tcp,from=fd00::/8: no allowed source (fd00::/8) is an IPv4 network"},
		{of("10.0.0.2", "", tcp("", 1, 0, 80, 0), from("10.0.0.0/8", tcp("", 1, 0, 80, 0))),
			"publish 1:80/tcp,from=10.0.0.0/8: host port 1/tcp is requested twice, also by 1:80/tcp"},
		{of("fd00::2", "", tcp("", 0, 0, 80, 0)),
			"container web: IPv4 address fd00::2 or IPv6 address invalid IP has the wrong family"},
	} {
		_, err := publication.Resolve(row.p, true)
		if !fault.Is(err, fault.Invalid) || err.Error() != row.want {
			t.Errorf("got  %v\nwant %s", err, row.want)
		}
	}
}

func TestResolveNeverConflicts(t *testing.T) {
	mapping := rapid.Custom(func(t *rapid.T) port.Mapping {
		n := rapid.Uint16Range(0, 3).Draw(t, "more")
		ports := func(label string, first *rapid.Generator[uint16]) port.Range {
			from := first.Draw(t, label)
			return port.Range{First: from, Last: from + n}
		}
		m := port.Mapping{
			Protocol:  rapid.SampledFrom([]port.Protocol{"tcp", "udp", "sctp", ""}).Draw(t, "protocol"),
			HostIP:    address(rapid.SampledFrom([]string{"", "0.0.0.0", "::", "10.1.1.1", "::1"}).Draw(t, "host")),
			Container: ports("container port", rapid.Uint16())}
		if rapid.Bool().Draw(t, "fixed") {
			m.Host = ports("host port", rapid.Uint16Range(8000, 8004))
		}
		return m
	})

	rapid.Check(t, func(t *rapid.T) {
		plan, err := publication.Resolve(of("10.0.0.2", "fd00::2",
			rapid.SliceOfN(mapping, 0, 5).Draw(t, "mappings")...), true)
		if err != nil {
			return
		}
		var taken []port.Binding
		for _, w := range plan {
			if w.ContainerPort == 0 || w.Host.First > w.Host.Last || len(w.HostIPs) == 0 {
				t.Fatalf("invalid request %+v", w)
			}
			if !w.Fixed() {
				continue
			}
			for _, b := range w.Bindings(of("10.0.0.2", "fd00::2"), w.Host.First) {
				for _, o := range taken {
					if o.Protocol == b.Protocol && o.Host.First == b.Host.First && port.Overlap(o.HostIP, b.HostIP) {
						t.Fatalf("%v conflicts with %v", o, b)
					}
				}
				if b.HostIP.Is4() != b.ContainerIP.Is4() {
					t.Fatalf("families differ: %v", b)
				}
				taken = append(taken, b)
			}
		}
	})
}

func TestSortOrder(t *testing.T) {
	b := func(proto port.Protocol, host string, ctr uint16) port.Binding {
		return port.Binding{Protocol: proto, HostIP: netip.MustParseAddr(host), Container: port.Single(ctr)}
	}

	all := []port.Binding{b("udp", "0.0.0.0", 53), b("tcp", "::", 80), b("tcp", "0.0.0.0", 80),
		b("tcp", "0.0.0.0", 53)}

	port.Sort(all)
	want := []port.Binding{b("tcp", "0.0.0.0", 53), b("udp", "0.0.0.0", 53), b("tcp", "0.0.0.0", 80),
		b("tcp", "::", 80)}

	for i := range want {
		if all[i] != want[i] {
			t.Fatalf("got %v, want %v", all, want)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add("80-81:80-81")
	f.Add("[::1]::65535/udp")
	f.Add("10.1.1.1:1-65535:1-65535/sctp,from=::/0")
	f.Fuzz(func(t *testing.T, spec string) {
		m, err := port.Parse(spec)
		if err != nil {
			return
		}
		plan, err := publication.Resolve(of("10.0.0.2", "fd00::2", m), true)
		if err == nil && len(plan) == 0 || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v, %v", m, plan, err)
		}
	})
}

func TestAnyFamilySkipsGivenAddresses(t *testing.T) {
	mapping := func(hostIP string, host, container uint16) port.Mapping { return tcp(hostIP, host, 0, container, 0) }

	binding := func(ip string, host, container uint16) port.Binding {
		return port.Binding{Protocol: port.TCP, HostIP: netip.MustParseAddr(ip), Host: port.Single(host),
			ContainerIP: netip.MustParseAddr("10.0.0.2"), Container: port.Single(container)}
	}

	p := &publication.Publication{
		IPv4: netip.MustParseAddr("10.0.0.2"),
		Mappings: []port.Mapping{mapping("", 8080, 80), mapping("0.0.0.0", 8081, 80),
			mapping("127.0.0.1", 8082, 80), mapping("", 0, 81)},
		Bindings: []port.Binding{binding("0.0.0.0", 8080, 80), binding("0.0.0.0", 8081, 80),
			binding("127.0.0.1", 8082, 80), binding("0.0.0.0", 32768, 81)},
	}

	got := p.AnyFamily()
	if want := []port.Binding{p.Bindings[0], p.Bindings[3]}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	p.IPv6 = netip.MustParseAddr("fd00::2")
	if got := p.AnyFamily(); got != nil {
		t.Errorf("got %v with an IPv6 address, want none", got)
	}
}
