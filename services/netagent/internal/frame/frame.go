// Package frame writes and reads the few Ethernet frames by which an address is asked for, claimed and told of on a LAN: ARP, IPv6
// neighbour and router discovery, and UDP for DHCP before there is an address that a socket could be bound to. It is pure.
//
// What is read comes from anybody on the LAN: whatever is not whole, or not what it says it is, is no frame.
package frame

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// The kinds of frames that are known here, by their EtherType.
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

	// ndHopLimit is the hop limit of neighbour discovery: a router would have made it less (RFC 4861, 6.1).
	ndHopLimit = 255
)

// Broadcast is everybody on the LAN.
func Broadcast() net.HardwareAddr { return net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// multicastMAC is where a group of IPv6 listens (RFC 2464).
func multicastMAC(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return append(net.HardwareAddr{0x33, 0x33}, b[12:]...)
}

// solicitedNode is the group that whoever has an address listens to (RFC 4291, 2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 0x01, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

func ethernet(to, from net.HardwareAddr, kind uint16, payload []byte) []byte {
	out := make([]byte, 0, etherLen+len(payload))
	out = append(append(out, to...), from...)
	return append(binary.BigEndian.AppendUint16(out, kind), payload...)
}

// parseEthernet takes the Ethernet header off.
func parseEthernet(data []byte) (from net.HardwareAddr, kind uint16, payload []byte, ok bool) {
	if len(data) < etherLen {
		return nil, 0, nil, false
	}
	return net.HardwareAddr(data[6:12]), binary.BigEndian.Uint16(data[12:]), data[etherLen:], true
}

// checksum is the Internet checksum of some parts, each but the last of an even length (RFC 1071).
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

// pseudoHeader is what a checksum counts of the IP header (RFC 768, RFC 8200, 8.1).
func pseudoHeader(from, to netip.Addr, proto byte, length int) []byte {
	out := append(from.AsSlice(), to.AsSlice()...)
	if from.Is4() {
		return binary.BigEndian.AppendUint16(append(out, 0, proto), uint16(length))
	}
	return append(binary.BigEndian.AppendUint32(out, uint32(length)), 0, 0, 0, proto)
}
