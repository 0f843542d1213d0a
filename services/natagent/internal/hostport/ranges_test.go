package hostport_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
)

// naive checks each port of a range.
func naive(l *hostport.Allocator, proto port.Protocol, ip netip.Addr, ports port.Range) (hostport.Holder,
	uint16, bool) {
	for number := int(ports.First); number <= int(ports.Last); number++ {
		if h, taken := l.HolderOf(proto, ip, uint16(number)); taken {
			return h, uint16(number), true
		}
	}
	return hostport.Holder{}, 0, false
}

func TestHolderOfRangeHasLowestPort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		protos := rapid.SampledFrom([]port.Protocol{"tcp", "udp"})
		ips := rapid.SampledFrom(addrs("0.0.0.0", "10.0.0.1", "10.0.0.2", "::1"))
		ports := rapid.Custom(func(t *rapid.T) port.Range {
			// A few low ports, and the last port, to cover overflow.
			first := rapid.SampledFrom([]uint16{1, 2, 3, 4, 65534, 65535}).Draw(t, "first")
			return port.Range{First: first, Last: rapid.SampledFrom([]uint16{first, min(first, 65533) + 2,
				65535}).Draw(t, "last")}
		})
		l := hostport.NewAllocator()
		for range rapid.IntRange(1, 4).Draw(t, "taken") {
			ip, r := ips.Draw(t, "ip"), ports.Draw(t, "ports")
			b := port.Binding{Protocol: protos.Draw(t, "proto"), HostIP: ip, Host: r}
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				l.Add("one", "one", b.Protocol, ip, r.First)
			case 1:
				l.AddRange("run", "run", b)
			case 2:
				l.AddRange("whole", "whole", port.Binding{Protocol: port.All, HostIP: ip})
			}
		}
		proto, ip, r := port.TCP, ips.Draw(t, "on"), ports.Draw(t, "run")
		holder, number, taken := l.HolderOfRange(proto, ip, r)
		if h, p, ok := naive(l, proto, ip, r); h != holder || p != number || ok != taken {
			t.Errorf("got %+v, port %d, %v; naive search returns %+v, %d, %v", holder, number, taken, h, p, ok)
		}
	})
}
