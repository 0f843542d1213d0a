package hostfirewall

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/port"
)

// Packet is the first packet of a connection to the host.
type Packet struct {
	Protocol  port.Protocol
	Source    netip.Addr
	Target    netip.AddrPort
	Interface string // input interface; empty: unknown
	Index     int    // index of that interface; 0: unknown
}

// value holds some bytes of a packet, if known.
type value struct {
	bytes []byte
	known bool
}

func knownAs(b ...byte) value { return value{b, true} }

func native32(n uint32) value { return knownAs(binary.NativeEndian.AppendUint32(nil, n)...) }

// part returns some bytes of a header, which holds one value per byte. Bytes after its end are
// unknown.
func part(header []value, offset, length uint32) value {
	if uint64(offset)+uint64(length) > uint64(len(header)) {
		return value{}
	}

	var out value
	for _, b := range header[offset : offset+length] {
		if !b.known {
			return value{}
		}
		out.bytes = append(out.bytes, b.bytes...)
	}

	out.known = true
	return out
}

func put(header []value, at int, bytes []byte) {
	for i, b := range bytes {
		header[at+i] = knownAs(b)
	}
}

// network returns the packet's IP header.
func (p Packet) network() []value {
	number := []byte{p.Protocol.Number()}
	if p.Target.Addr().Is4() {
		h := make([]value, 20)
		put(h, 0, []byte{0x45})
		put(h, 9, number)
		put(h, 12, p.Source.AsSlice())
		put(h, 16, p.Target.Addr().AsSlice())
		return h
	}

	h := make([]value, 40)
	put(h, 6, number)
	put(h, 8, p.Source.AsSlice())
	put(h, 24, p.Target.Addr().AsSlice())
	return h
}

// transport returns the packet's transport header.
func (p Packet) transport() []value {
	h := make([]value, 8)
	if p.Protocol == port.TCP {
		const syn = 2
		h = make([]value, 20)
		put(h, 13, []byte{syn})
	}
	put(h, 2, binary.BigEndian.AppendUint16(nil, p.Target.Port()))
	return h
}

// Constants that package unix lacks.
const (
	interfaceName = 16 // IFNAMSIZ
	stateNew      = 1 << 3
	typeLocal     = unix.RTN_LOCAL
)

// family returns the packet's netfilter family and EtherType.
func (p Packet) family() (byte, uint16) {
	if p.Target.Addr().Is4() {
		return unix.NFPROTO_IPV4, unix.ETH_P_IP
	}
	return unix.NFPROTO_IPV6, unix.ETH_P_IPV6
}
