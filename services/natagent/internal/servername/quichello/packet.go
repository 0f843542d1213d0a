package quichello

import "encoding/binary"

// Versions of RFC 9000 and RFC 9369.
const (
	version1 = 1
	version2 = 0x6b3343cf
)

// kind is the type of a packet.
type kind int

const (
	kindShort kind = iota // after the handshake
	kindInitial
	kindZeroRTT
	kindHandshake
	kindRetry
)

// kinds returns the types of packets with a long header, by their number.
func kinds(version uint32) []kind {
	switch version {
	case version1:
		return []kind{kindInitial, kindZeroRTT, kindHandshake, kindRetry}
	case version2:
		return []kind{kindRetry, kindInitial, kindZeroRTT, kindHandshake}
	}
	return nil
}

// Bits of the first byte.
const (
	longHeader = 0x80
	lowBits    = 0x0f // of a long header, which are protected
)

// packet is a packet of a datagram, which can have several.
type packet struct {
	kind    kind
	version uint32
	id      string // connection ID of the destination
	data    []byte // from the first byte of the header on
	number  int    // offset of the packet number
}

// parse divides the first packet from the rest of a datagram. A packet with a short header has no end.
func parse(data []byte) (p packet, rest []byte, err error) {
	if data[0]&longHeader == 0 {
		return packet{kind: kindShort, data: data}, nil, nil
	}
	const maxID = 20
	c := &cursor{rest: data[1:]}
	version := c.bytes(4)
	id := c.vector()
	source := c.vector()
	if c.failed || len(id) > maxID || len(source) > maxID {
		return p, nil, ErrNotQUIC
	}
	p = packet{version: binary.BigEndian.Uint32(version), id: string(id)}
	all := kinds(p.version)
	if all == nil {
		return p, nil, ErrNotQUIC
	}
	if p.kind = all[data[0]>>4&3]; p.kind == kindRetry { // only servers send it
		return p, nil, ErrNotQUIC
	}

	if p.kind == kindInitial {
		c.bytes64(c.integer()) // token
	}
	length := c.integer()
	p.number = len(data) - len(c.rest)
	c.bytes64(length)
	if c.failed {
		return p, nil, ErrNotQUIC
	}
	p.data = data[:len(data)-len(c.rest)]
	return p, c.rest, nil
}

// cursor reads fields. After an error all fields are empty.
type cursor struct {
	rest   []byte
	failed bool
}

func (c *cursor) bytes(n int) []byte { return c.bytes64(uint64(n)) }

func (c *cursor) bytes64(n uint64) []byte {
	if n > uint64(len(c.rest)) {
		c.failed, c.rest = true, nil
		return nil
	}
	out := c.rest[:n]
	c.rest = c.rest[n:]
	return out
}

// vector returns a field after its length of one byte.
func (c *cursor) vector() []byte {
	if length := c.bytes(1); length != nil {
		return c.bytes(int(length[0]))
	}
	return nil
}

// integer returns an integer of RFC 9000 section 16, whose first two bits are its length.
func (c *cursor) integer() (n uint64) {
	first := c.bytes(1)
	if first == nil {
		return 0
	}
	n = uint64(first[0] & 0x3f)
	for _, b := range c.bytes(1<<(first[0]>>6) - 1) {
		n = n<<8 | uint64(b)
	}
	return n
}
