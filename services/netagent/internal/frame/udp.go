package frame

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// UDP is a UDP datagram with its addresses.
type UDP struct {
	FromMAC, ToMAC net.HardwareAddr // nil ToMAC: broadcast, or the MAC address of the multicast group in To
	From, To       netip.AddrPort
	Payload        []byte
}

// Frame encodes the datagram.
func (u UDP) Frame() []byte {
	from, to := u.From.Addr(), u.To.Addr()
	length := udpLen + len(u.Payload)
	segment := binary.BigEndian.AppendUint16(nil, u.From.Port())
	segment = binary.BigEndian.AppendUint16(segment, u.To.Port())
	segment = append(binary.BigEndian.AppendUint16(segment, uint16(length)), 0, 0)
	segment = append(segment, u.Payload...)
	check := checksum(pseudoHeader(from, to, protoUDP, length), segment)
	if check == 0 {
		check = 0xffff // 0 denotes no checksum
	}

	binary.BigEndian.PutUint16(segment[6:], check)
	mac := u.ToMAC
	if mac == nil {
		if mac = Broadcast(); to.Is6() {
			mac = multicastMAC(to)
		}
	}

	if to.Is6() {
		return ethernet(mac, u.FromMAC, TypeIPv6, append(header6(from, to, protoUDP, 1, length), segment...))
	}

	return ethernet(mac, u.FromMAC, TypeIPv4, append(header4(from, to, length), segment...))
}

// header4 returns an IPv4 header with the don't-fragment flag, TTL 64 and TOS low delay, as usual for DHCP.
func header4(from, to netip.Addr, length int) []byte {
	total := ip4Len + length
	out := []byte{0x45, 0x10, byte(total >> 8), byte(total), 0, 0, 0x40, 0, 64, protoUDP, 0, 0}
	out = append(append(out, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(out[10:], checksum(out))
	return out
}

// ReadUDP decodes a complete UDP datagram; ok is false if it is not valid. unsummed skips the UDP
// checksum, which the kernel does not fill in for packets of the same host (checksum offload).
func ReadUDP(data []byte, unsummed bool) (UDP, bool) {
	mac, kind, b, ok := parseEthernet(data)
	if !ok {
		return UDP{}, false
	}

	u := UDP{FromMAC: bytes.Clone(mac)}
	var from, to netip.Addr
	switch {
	case kind == TypeIPv4 && len(b) >= ip4Len && b[0]>>4 == 4 && b[9] == protoUDP:
		head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		// The last condition excludes fragments: the MF flag, or an offset.
		if head < ip4Len || total < head || total > len(b) || checksum(b[:head]) != 0 ||
			binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return UDP{}, false
		}
		from, to, b = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[head:total]
	case kind == TypeIPv6 && len(b) >= ip6Len && b[0]>>4 == 6 && b[6] == protoUDP:
		total := ip6Len + int(binary.BigEndian.Uint16(b[4:]))
		if total > len(b) {
			return UDP{}, false
		}
		from, to, b = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[ip6Len:total]
	default:
		return UDP{}, false
	}

	if len(b) < udpLen {
		return UDP{}, false
	}

	length := int(binary.BigEndian.Uint16(b[4:]))
	if length < udpLen || length > len(b) {
		return UDP{}, false
	}

	absent := b[6] == 0 && b[7] == 0 && from.Is4()
	if !unsummed && !absent && checksum(pseudoHeader(from, to, protoUDP, length), b[:length]) != 0 {
		return UDP{}, false
	}

	u.From = netip.AddrPortFrom(from, binary.BigEndian.Uint16(b))
	u.To = netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:]))
	u.Payload = bytes.Clone(b[udpLen:length])
	return u, true
}
