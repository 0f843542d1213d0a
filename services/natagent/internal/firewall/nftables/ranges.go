package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/fairlead/fairlead/proto/port"
)

// rangeElements returns the elements of a port range or a published address.
func rangeElements(b port.Binding) []element {
	ports, anyPorts, full, snat := mapDNAT4Range, mapDNAT4RangeAny, mapDNAT4Address, mapSNAT4Container
	if b.HostIP.Is6() {
		ports, anyPorts, full, snat = mapDNAT6Range, mapDNAT6RangeAny, mapDNAT6Address, mapSNAT6Container
	}

	host, target := string(b.HostIP.AsSlice()), string(b.ContainerIP.AsSlice())
	if b.IsAddress() {
		out := []element{{set: full, key: host, value: target}}
		if b.SNAT {
			out = append(out, element{set: snat, key: target, value: host})
		}
		return out
	}

	if b.HostIP.IsUnspecified() {
		host, ports = "", anyPorts
	}

	host += string([]byte{b.Protocol.Number(), 0, 0, 0})
	return []element{{set: ports, key: host + padded(b.Host.First), keyEnd: host + padded(b.Host.Last), value: target}}
}

// rangeBinding decodes the element of a port range or a published address, except SNAT.
func (e element) rangeBinding() (b port.Binding, ok bool) {
	length := map[string]int{mapDNAT4Range: 4, mapDNAT6Range: 16, mapDNAT4RangeAny: 0, mapDNAT6RangeAny: 0,
		mapDNAT4Address: 4, mapDNAT6Address: 16}
	n, ok := length[e.set]
	if !ok || len(e.key) < n {
		return b, false
	}

	b.ContainerIP, ok = netip.AddrFromSlice([]byte(e.value))
	if host, specific := netip.AddrFromSlice([]byte(e.key[:n])); specific {
		b.HostIP = host
	} else if b.HostIP = netip.IPv4Unspecified(); e.set == mapDNAT6RangeAny {
		b.HostIP = netip.IPv6Unspecified()
	}

	if len(e.key) == n {
		b.Protocol = port.All
		return b, ok && (e.set == mapDNAT4Address || e.set == mapDNAT6Address)
	}

	if len(e.key) != n+8 || len(e.keyEnd) != n+8 {
		return b, false
	}

	b.Protocol = protocolOf(e.key[n])
	b.Host.First = binary.BigEndian.Uint16([]byte(e.key[n+4:]))
	b.Host.Last = binary.BigEndian.Uint16([]byte(e.keyEnd[n+4:]))
	b.Container = b.Host
	return b, ok && b.Protocol != ""
}

// protocolOf returns the transport with a protocol number; "" if unknown.
func protocolOf(number byte) port.Protocol {
	for _, p := range []port.Protocol{port.TCP, port.UDP, port.SCTP} {
		if p.Number() == number {
			return p
		}
	}
	return ""
}
