// Package frame encodes and decodes Ethernet frames: ARP, IPv6 neighbour discovery and UDP for
// DHCP.
// It serves address conflict detection, announcements and DHCP. It performs no I/O.
//
// Any host on the LAN can send the decoded frames, so truncated and inconsistent ones are rejected.
package frame

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// The supported EtherTypes.
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeIPv6 = 0x86dd
)

const (
	etherLen = 14
	ip4Len   = 20
	ip6Len   = 40
	udpLen   = 8

	protoUDP    = 17
	protoICMPv6 = 58

	// ndHopLimit proves that no router has forwarded the message (RFC 4861, 6.1).
	ndHopLimit = 255
)

// Broadcast returns the Ethernet broadcast address.
func Broadcast() net.HardwareAddr { return net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// multicastMAC returns the MAC address of an IPv6 group (RFC 2464).
func multicastMAC(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return append(net.HardwareAddr{0x33, 0x33}, b[12:]...)
}

// solicitedNode returns the solicited-node group of an address (RFC 4291, 2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 0x01, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

func ethernet(to, from net.HardwareAddr, kind uint16, payload []byte) []byte {
	out := make([]byte, 0, etherLen+len(payload))
	out = append(append(out, to...), from...)
	return append(binary.BigEndian.AppendUint16(out, kind), payload...)
}

// parseEthernet splits a frame into header and payload.
func parseEthernet(data []byte) (from net.HardwareAddr, kind uint16, payload []byte, ok bool) {
	if len(data) < etherLen {
		return nil, 0, nil, false
	}
	return net.HardwareAddr(data[6:12]), binary.BigEndian.Uint16(data[12:]), data[etherLen:], true
}

// checksum returns the Internet checksum of the parts (RFC 1071). All but the last must have even
// length.
func checksum(parts ...[]byte) uint16 {
	var s uint32
	for _, p := range parts {
		for ; len(p) > 1; p = p[2:] {
			s += uint32(p[0])<<8 | uint32(p[1])
		}
		if len(p) == 1 {
			s += uint32(p[0]) << 8
		}
	}

	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}

	return ^uint16(s)
}

// pseudoHeader returns the pseudo-header for checksums (RFC 768; RFC 8200, 8.1).
func pseudoHeader(from, to netip.Addr, proto byte, length int) []byte {
	out := append(from.AsSlice(), to.AsSlice()...)
	if from.Is4() {
		return binary.BigEndian.AppendUint16(append(out, 0, proto), uint16(length))
	}
	return append(binary.BigEndian.AppendUint32(out, uint32(length)), 0, 0, 0, proto)
}
