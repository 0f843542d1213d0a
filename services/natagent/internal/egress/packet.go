package egress

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// packet holds the headers of a packet.
type packet struct {
	protocol uint8
	from     netip.Addr
	to       netip.AddrPort // port 0 without ports
}

// parsePacket reads the headers of an IP packet.
func parsePacket(data []byte) (p packet, ok bool) {
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
		p.protocol = data[9]
		p.from, _ = netip.AddrFromSlice(data[12:16])
		addr, _ = netip.AddrFromSlice(data[16:20])
	case 6:
		if len(data) < length {
			return p, false
		}
		p.protocol = data[6]
		p.from, _ = netip.AddrFromSlice(data[8:24])
		addr, _ = netip.AddrFromSlice(data[24:40])
	default:
		return p, false
	}

	var port uint16
	if rest := data[length:]; len(rest) >= 4 {
		switch p.protocol {
		case protoTCP, protoUDP, protoSCTP:
			port = binary.BigEndian.Uint16(rest[2:])
		}
	}
	p.to = netip.AddrPortFrom(addr, port)
	return p, true
}

// protocolName returns the name of a protocol, or its number.
func protocolName(number uint8) string {
	switch number {
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoSCTP:
		return "sctp"
	case protoICMP, protoICMPv6:
		return "icmp"
	}
	return strconv.Itoa(int(number))
}

// parsePrefix returns the short container ID, the reason and the direction of a record.
func parsePrefix(text string) (short, reason string, d direction, ok bool) {
	fields := strings.Fields(strings.TrimRight(text, "\x00"))
	if len(fields) < 3 || fields[0] != "fairlead" {
		return "", "", outgoing, false
	}
	if len(fields) == 4 && fields[3] == markIncoming {
		return fields[1], fields[2], incoming, true
	}
	return fields[1], fields[2], outgoing, len(fields) == 3
}
