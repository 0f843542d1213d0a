package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/fairlead/fairlead/proto/port"
)

// directElement returns the element for direct access to a port or range.
func directElement(b port.Binding) element {
	single, ports := setDirect4, setDirect4Range
	if b.HostIP.Is6() {
		single, ports = setDirect6, setDirect6Range
	}
	at := string(b.HostIP.AsSlice()) + string([]byte{b.Protocol.Number(), 0, 0, 0})
	if b.IsRange() {
		return element{set: ports, key: at + padded(b.Host.First), keyEnd: at + padded(b.Host.Last)}
	}
	return element{set: single, key: at + padded(b.Host.First)}
}

// directBinding decodes an element for direct access.
func (e element) directBinding() (b port.Binding, ok bool) {
	n, ok := map[string]int{setDirect4: 4, setDirect6: 16, setDirect4Range: 4, setDirect6Range: 16}[e.set]
	if !ok || len(e.key) != n+8 {
		return b, false
	}

	b.HostIP, _ = netip.AddrFromSlice([]byte(e.key[:n]))
	b.ContainerIP = b.HostIP
	b.Protocol = protocolOf(e.key[n])
	b.Host = port.Single(binary.BigEndian.Uint16([]byte(e.key[n+4:])))
	if e.set == setDirect4Range || e.set == setDirect6Range {
		if len(e.keyEnd) != n+8 {
			return b, false
		}
		b.Host.Last = binary.BigEndian.Uint16([]byte(e.keyEnd[n+4:]))
	}

	b.Container = b.Host
	return b, b.Protocol != ""
}
