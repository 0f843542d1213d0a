package servername

import (
	"encoding/binary"
	"net/netip"
)

// Flags of a TCP header.
const (
	flagFIN = 1 << 0
	flagSYN = 1 << 1
	flagRST = 1 << 2
	flagACK = 1 << 4
	flagURG = 1 << 5
)

// Protocol numbers.
const (
	protoHopByHop = 0
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoOptions  = 60
)

// segment is a TCP segment.
type segment struct {
	from, to netip.AddrPort
	seq, ack uint32
	flags    byte
	payload  []byte
}

func (s segment) has(flag byte) bool { return s.flags&flag != 0 }

// length returns the length in the sequence space.
func (s segment) length() uint32 {
	n := uint32(len(s.payload))
	if s.has(flagSYN) {
		n++
	}
	if s.has(flagFIN) {
		n++
	}
	return n
}

// parseIP returns the addresses of an IP packet and what follows its headers; ok is false if it is a fragment or
// has another protocol.
func parseIP(data []byte, protocol byte) (src, dst netip.Addr, rest []byte, ok bool) {
	if len(data) == 0 {
		return src, dst, nil, false
	}
	switch data[0] >> 4 {
	case 4:
		return parseIPv4(data, protocol)
	case 6:
		return parseIPv6(data, protocol)
	}
	return src, dst, nil, false
}

// parseSegment reads an IP packet; ok is false if it is not a complete TCP segment.
func parseSegment(data []byte) (s segment, ok bool) {
	src, dst, tcp, ok := parseIP(data, protoTCP)
	const header = 20
	if !ok || len(tcp) < header {
		return s, false
	}
	offset := int(tcp[12]>>4) * 4
	if offset < header || offset > len(tcp) {
		return s, false
	}
	return segment{from: netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp)),
		to:  netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:])),
		seq: binary.BigEndian.Uint32(tcp[4:]), ack: binary.BigEndian.Uint32(tcp[8:]), flags: tcp[13],
		payload: tcp[offset:]}, true
}

// trimmed cuts what a link has added after the packet. Packets that the kernel splits later can have no
// length.
func trimmed(data []byte, length int) []byte {
	if length > 0 && length < len(data) {
		return data[:length]
	}
	return data
}

func parseIPv4(data []byte, protocol byte) (src, dst netip.Addr, rest []byte, ok bool) {
	const header = 20
	if len(data) < header {
		return src, dst, nil, false
	}
	offset, fragment := int(data[0]&15)*4, binary.BigEndian.Uint16(data[6:])&0x3fff
	data = trimmed(data, int(binary.BigEndian.Uint16(data[2:])))
	if offset < header || offset > len(data) || fragment != 0 || data[9] != protocol {
		return src, dst, nil, false
	}
	src, _ = netip.AddrFromSlice(data[12:16])
	dst, _ = netip.AddrFromSlice(data[16:20])
	return src, dst, data[offset:], true
}

func parseIPv6(data []byte, protocol byte) (src, dst netip.Addr, rest []byte, ok bool) {
	const header, unit = 40, 8
	if len(data) < header {
		return src, dst, nil, false
	}
	if length := int(binary.BigEndian.Uint16(data[4:])); length > 0 {
		data = trimmed(data, header+length)
	}
	src, _ = netip.AddrFromSlice(data[8:24])
	dst, _ = netip.AddrFromSlice(data[24:40])
	next, rest := data[6], data[header:]
	for next == protoHopByHop || next == protoRouting || next == protoOptions {
		if len(rest) < unit || len(rest) < unit*(1+int(rest[1])) {
			return src, dst, nil, false
		}
		next, rest = rest[0], rest[unit*(1+int(rest[1])):]
	}
	return src, dst, rest, next == protocol
}
