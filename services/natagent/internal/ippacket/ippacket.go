// Package ippacket reads the headers of IP packets, as records of the kernel have them. Package egress uses
// it. It performs no I/O.
package ippacket

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Packet holds the headers of a packet.
type Packet struct {
	Protocol uint8
	From     netip.Addr
	To       netip.AddrPort // port 0 without ports
}

// Parse reads the headers of an IP packet; ok is false if it is too short.
func Parse(data []byte) (p Packet, ok bool) {
	if len(data) == 0 {
		return p, false
	}

	var addr netip.Addr
	length := 40
	switch data[0] >> 4 {
	case 4:
		length = int(data[0]&15) * 4
		if len(data) < max(length, 20) {
			return p, false
		}
		p.Protocol = data[9]
		p.From, _ = netip.AddrFromSlice(data[12:16])
		addr, _ = netip.AddrFromSlice(data[16:20])
	case 6:
		if len(data) < length {
			return p, false
		}
		p.Protocol = data[6]
		p.From, _ = netip.AddrFromSlice(data[8:24])
		addr, _ = netip.AddrFromSlice(data[24:40])
	default:
		return p, false
	}

	var port uint16
	if rest := data[length:]; len(rest) >= 4 {
		switch p.Protocol {
		case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP:
			port = binary.BigEndian.Uint16(rest[2:])
		}
	}
	p.To = netip.AddrPortFrom(addr, port)
	return p, true
}

// ProtocolName returns the name of a protocol, or its number.
func ProtocolName(number uint8) string {
	switch number {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return "icmp"
	}
	return strconv.Itoa(int(number))
}
