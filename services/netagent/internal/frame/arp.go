package frame

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// ARP is one ARP packet for IPv4 on Ethernet (RFC 826).
type ARP struct {
	Reply              bool
	SenderMAC          net.HardwareAddr
	SenderIP, TargetIP netip.Addr
}

const (
	arpLen     = 28
	arpRequest = 1
	arpReply   = 2
)

// arpHead says Ethernet and IPv4, and how long their addresses are.
var arpHead = [6]byte{0, 1, 8, 0, 6, 4}

// Frame writes it to everybody.
func (a ARP) Frame() []byte {
	op := uint16(arpRequest)
	if a.Reply {
		op = arpReply
	}
	out := binary.BigEndian.AppendUint16(append([]byte(nil), arpHead[:]...), op)
	out = append(append(out, a.SenderMAC...), a.SenderIP.AsSlice()...)
	out = append(append(out, make([]byte, 6)...), a.TargetIP.AsSlice()...)
	return ethernet(Broadcast(), a.SenderMAC, TypeARP, out)
}

// ReadARP reads one; false if it is none.
func ReadARP(data []byte) (ARP, bool) {
	_, kind, b, ok := parseEthernet(data)
	if !ok || kind != TypeARP || len(b) < arpLen || !bytes.Equal(b[:6], arpHead[:]) {
		return ARP{}, false
	}
	op := binary.BigEndian.Uint16(b[6:])
	return ARP{Reply: op == arpReply, SenderMAC: net.HardwareAddr(bytes.Clone(b[8:14])), SenderIP: netip.AddrFrom4([4]byte(b[14:18])),
		TargetIP: netip.AddrFrom4([4]byte(b[24:28]))}, op == arpRequest || op == arpReply
}

// Probe asks who has an address, as somebody who has none and may want that one: nobody's table changes by it (RFC 5227, and of IPv6
// RFC 4862, 5.4.2).
func Probe(from net.HardwareAddr, addr netip.Addr) []byte {
	if addr.Is4() {
		return ARP{SenderMAC: from, SenderIP: netip.IPv4Unspecified(), TargetIP: addr}.Frame()
	}
	return solicit(from, addr)
}

// Announce tells everybody that an address is here now: a gratuitous ARP request (RFC 5227, 2.3), or an unsolicited neighbour
// advertisement (RFC 4861, 7.2.6).
func Announce(from net.HardwareAddr, addr netip.Addr) []byte {
	if addr.Is4() {
		return ARP{SenderMAC: from, SenderIP: addr, TargetIP: addr}.Frame()
	}
	return advertise(from, addr)
}

// ConflictFrom reads from a frame who else has an address or is about to take it; false if it tells of nobody. own are the hardware
// addresses of the asker's.
func ConflictFrom(data []byte, addr netip.Addr, own ...net.HardwareAddr) (net.HardwareAddr, bool) {
	var who net.HardwareAddr
	if addr.Is4() {
		a, ok := ReadARP(data)
		probed := ok && !a.Reply && a.SenderIP.IsUnspecified() && a.TargetIP == addr
		if !ok || a.SenderIP != addr && !probed {
			return nil, false
		}
		who = a.SenderMAC
	} else {
		mac, ok := claimant6(data, addr)
		if !ok {
			return nil, false
		}
		who = mac
	}
	for _, mac := range own {
		if bytes.Equal(mac, who) {
			return nil, false
		}
	}
	return who, true
}
