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
		addr, _ = netip.AddrFromSlice(data[16:20])
	case 6:
		if len(data) < length {
			return p, false
		}
		p.protocol = data[6]
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

// parsePrefix returns the short container ID and the reason of a record.
func parsePrefix(text string) (short, reason string, ok bool) {
	fields := strings.Fields(strings.TrimRight(text, "\x00"))
	if len(fields) != 3 || fields[0] != "fairlead" {
		return "", "", false
	}
	return fields[1], fields[2], true
}
