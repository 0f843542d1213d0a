package nftables

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

func TestBindingElementRoundTrip(t *testing.T) {
	addr := func(t *rapid.T, v4 bool, name string) netip.Addr {
		if v4 {
			return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, name)))
		}
		a := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name)))
		if a.Is4In6() {
			return netip.IPv6LinkLocalAllNodes()
		}
		return a
	}

	rapid.Check(t, func(t *rapid.T) {
		v4 := rapid.Bool().Draw(t, "IPv4")
		b := port.Binding{
			Protocol: rapid.SampledFrom([]port.Protocol{"tcp", "udp", "sctp"}).Draw(t, "protocol"),
			HostIP:   addr(t, v4, "host"), ContainerIP: addr(t, v4, "container"),
			Host:      port.Single(rapid.Uint16().Draw(t, "host port")),
			Container: port.Single(rapid.Uint16().Draw(t, "container port")),
		}
		if rapid.Bool().Draw(t, "all addresses") {
			b.HostIP = netip.IPv6Unspecified()
			if v4 {
				b.HostIP = netip.IPv4Unspecified()
			}
		}
		switch rapid.SampledFrom([]string{"port", "run", "address", "own port", "own run"}).Draw(t, "form") {
		case "own run":
			b.Host = ports(t)
			fallthrough
		case "own port":
			b.HostIP, b.Container = b.ContainerIP, b.Host
		case "run":
			b.Host = ports(t)
			b.Container = b.Host
		case "address":
			b.Protocol, b.Host, b.Container = port.All, port.Range{}, port.Range{}
		}
		if got, ok := elementsOf(b)[0].binding(); !ok || got != b {
			t.Fatalf("%v decoded as %v, %v", b, got, ok)
		}
	})
}

// ports draws a range of several ports.
func ports(t *rapid.T) port.Range {
	first := rapid.Uint16Range(1, 65534).Draw(t, "first")
	return port.Range{First: first, Last: rapid.Uint16Range(first+1, 65535).Draw(t, "last")}
}

func TestIntervalEnd(t *testing.T) {
	for subnet, want := range map[string]string{
		"10.1.0.0/16": "10.2.0.0", "10.1.2.0/31": "10.1.2.2", "10.0.0.7/32": "10.0.0.8", "255.255.0.0/16": "",
		"fd00::/64": "fd00:0:0:1::", "ff00::/8": "",
	} {
		n := firewall.Network{Bridge: "br", Masquerade: true, Subnets: []netip.Prefix{netip.MustParsePrefix(subnet)}}
		end := ""
		for _, e := range networkElements(&n) {
			if e.end {
				a, _ := netip.AddrFromSlice([]byte(e.key))
				end = a.String()
			}
		}
		if end != want {
			t.Errorf("%s ends before %q, want %q", subnet, end, want)
		}
	}
}

func FuzzElementBinding(f *testing.F) {
	f.Add("\x06\x00\x00\x00\x1f\x90\x00\x00", "\x0a\x00\x00\x02\x00\x50\x00\x00")
	f.Fuzz(func(t *testing.T, key, value string) {
		for _, set := range []string{mapDNAT4, mapDNAT6, mapDNAT4Any, mapDNAT6Any, setBridges} {
			b, ok := element{set: set, key: key, value: value}.binding()
			if !ok {
				continue
			}
			if b.Protocol.Number() == 0 || binary.BigEndian.Uint16([]byte(key[len(key)-4:])) != b.Host.First {
				t.Errorf("%s %x : %x gave %v", set, key, value, b)
			}
		}
	})
}
