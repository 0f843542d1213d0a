package frame

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// ARP is an ARP packet for IPv4 on Ethernet (RFC 826).
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

// arpHead is the header for Ethernet and IPv4 with their address lengths.
var arpHead = [6]byte{0, 1, 8, 0, 6, 4}

// Frame encodes the packet as a broadcast frame.
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

// ReadARP decodes an ARP frame; ok is false if it is not valid.
func ReadARP(data []byte) (ARP, bool) {
	_, kind, b, ok := parseEthernet(data)
	if !ok || kind != TypeARP || len(b) < arpLen || !bytes.Equal(b[:6], arpHead[:]) {
		return ARP{}, false
	}
	op := binary.BigEndian.Uint16(b[6:])
	return ARP{Reply: op == arpReply, SenderMAC: net.HardwareAddr(bytes.Clone(b[8:14])),
		SenderIP: netip.AddrFrom4([4]byte(b[14:18])),
		TargetIP: netip.AddrFrom4([4]byte(b[24:28]))}, op == arpRequest || op == arpReply
}

// Probe returns a probe for address conflict detection (RFC 5227; RFC 4862, 5.4.2). It does not
// change neighbour entries.
func Probe(from net.HardwareAddr, addr netip.Addr) []byte {
	if addr.Is4() {
		return ARP{SenderMAC: from, SenderIP: netip.IPv4Unspecified(), TargetIP: addr}.Frame()
	}
	return solicit(from, addr)
}

// Announce returns a gratuitous ARP request or an unsolicited neighbour advertisement. See RFC 5227,
// 2.3 and RFC 4861, 7.2.6.
func Announce(from net.HardwareAddr, addr netip.Addr) []byte {
	if addr.Is4() {
		return ARP{SenderMAC: from, SenderIP: addr, TargetIP: addr}.Frame()
	}
	return advertise(from, addr)
}

// ConflictFrom returns the MAC address of a host that uses or probes for addr. It ignores the MAC
// addresses in own. ok is false if the frame shows no conflict.
func ConflictFrom(data []byte, addr netip.Addr, own ...net.HardwareAddr) (net.HardwareAddr, bool) {
	var sender net.HardwareAddr
	if addr.Is4() {
		a, ok := ReadARP(data)
		probed := ok && !a.Reply && a.SenderIP.IsUnspecified() && a.TargetIP == addr
		if !ok || a.SenderIP != addr && !probed {
			return nil, false
		}
		sender = a.SenderMAC
	} else {
		mac, ok := claimant6(data, addr)
		if !ok {
			return nil, false
		}
		sender = mac
	}

	for _, mac := range own {
		if bytes.Equal(mac, sender) {
			return nil, false
		}
	}

	return sender, true
}
