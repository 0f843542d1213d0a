// Package pathprobe checks whether packets of full size reach the other hosts of a fleet, and come back, on the port
// of the tunnel. A host can be reached by its agents while a firewall or a smaller MTU on the way stops the packets
// of its containers.
//
// A probe is a UDP packet to the port of a tunnel, with eight bytes of zero that are the header of no packet: VXLAN
// and WireGuard drop it. Both sides read probes from a raw socket, behind the firewall of the host, so that a reply
// needs no tunnel: WireGuard itself replies within a session only. The package is used by package overlay.
package pathprobe

import (
	"encoding/binary"
	"net/netip"
)

// kind is the kind of a packet.
type kind byte

const (
	request kind = 1
	reply   kind = 2
)

// A packet has an empty header, the magic number, the kind, three bytes of zero and a number that the reply
// repeats. The rest up to its size is zero.
const (
	magic      = 0x464c5041
	magicAt    = 8
	kindAt     = 12
	numberAt   = 16
	packetSize = 24
)

// packet is a probe or its reply.
type packet struct {
	kind   kind
	number uint64
	size   int // of the UDP payload
}

func (p packet) encode() []byte {
	b := make([]byte, max(p.size, packetSize))
	binary.BigEndian.PutUint32(b[magicAt:], magic)
	b[kindAt] = byte(p.kind)
	binary.BigEndian.PutUint64(b[numberAt:], p.number)
	return b
}

func decode(b []byte) (packet, bool) {
	if len(b) < packetSize || binary.BigEndian.Uint64(b) != 0 || binary.BigEndian.Uint32(b[magicAt:]) != magic {
		return packet{}, false
	}
	k := kind(b[kindAt])
	return packet{k, binary.BigEndian.Uint64(b[numberAt:]), len(b)}, k == request || k == reply
}

// What IP and UDP add to a payload.
const (
	headers4 = 20 + 8
	headers6 = 40 + 8
)

// smallMTU is the size of a packet that passes everywhere.
const smallMTU = 576

// payload returns the size of the payload of a packet.
func payload(mtu int, local netip.Addr) int {
	if local.Is6() {
		return mtu - headers6
	}
	return mtu - headers4
}
