package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/fairlead/fairlead/proto/port"
)

// directElement returns the element for direct access to a port or range.
func directElement(b port.Binding) element {
	single, ports := setOwn4, setOwnRun4
	if b.HostIP.Is6() {
		single, ports = setOwn6, setOwnRun6
	}
	at := string(b.HostIP.AsSlice()) + string([]byte{b.Protocol.Number(), 0, 0, 0})
	if b.IsRange() {
		return element{set: ports, key: at + padded(b.Host.First), keyEnd: at + padded(b.Host.Last)}
	}
	return element{set: single, key: at + padded(b.Host.First)}
}

// ownBinding decodes an element for direct access.
func (e element) ownBinding() (b port.Binding, ok bool) {
	n, ok := map[string]int{setOwn4: 4, setOwn6: 16, setOwnRun4: 4, setOwnRun6: 16}[e.set]
	if !ok || len(e.key) != n+8 {
		return b, false
	}

	b.HostIP, _ = netip.AddrFromSlice([]byte(e.key[:n]))
	b.ContainerIP = b.HostIP
	b.Protocol = protocolOf(e.key[n])
	b.Host = port.Single(binary.BigEndian.Uint16([]byte(e.key[n+4:])))
	if e.set == setOwnRun4 || e.set == setOwnRun6 {
		if len(e.keyEnd) != n+8 {
			return b, false
		}
		b.Host.Last = binary.BigEndian.Uint16([]byte(e.keyEnd[n+4:]))
	}

	b.Container = b.Host
	return b, b.Protocol != ""
}
