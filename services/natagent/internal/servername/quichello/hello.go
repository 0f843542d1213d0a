package quichello

import (
	"bytes"
	"slices"

	"github.com/fairlead/fairlead/services/natagent/internal/servername/tlshello"
)

// Limits of a connection.
const (
	maxHello = 16 << 10 // bytes of ClientHellos
	maxParts = 64       // that are not adjacent
)

// Types of frames, RFC 9000 section 19.
const (
	framePadding = 0
	framePing    = 1
	frameAck     = 2
	frameAckECN  = 3
	frameCrypto  = 6
	frameClose   = 0x1c
)

// hello is the ClientHellos of a connection, whose parts can come in any order and again.
type hello struct {
	data  []byte
	parts []part // known ranges of data; sorted, none touches the next

	complete bool     // all that is known is complete ClientHellos
	names    []string // of these
}

// part is a range of bytes.
type part struct{ from, to int }

// addFrames adds the frames of a packet.
func (h *hello) addFrames(frames []byte) error {
	c := &cursor{rest: frames}
	for len(c.rest) > 0 {
		switch kind := c.integer(); kind {
		case framePadding:
			c.rest = bytes.TrimLeft(c.rest, "\x00")
		case framePing:
		case frameAck, frameAckECN:
			c.skipAck(kind == frameAckECN)
		case frameCrypto:
			at := c.integer()
			if err := h.add(at, c.bytes64(c.integer())); err != nil {
				return err
			}
		case frameClose:
			c.integer() // code
			c.integer() // type of a frame
			c.bytes64(c.integer())
		default:
			return ErrFrames
		}
	}
	if c.failed {
		return ErrFrames
	}
	return h.read()
}

func (c *cursor) skipAck(ecn bool) {
	c.integer() // largest number
	c.integer() // delay
	for n := 1 + 2*c.limited(); n > 0 && !c.failed; n-- {
		c.integer()
	}
	if ecn {
		for range 3 {
			c.integer()
		}
	}
}

// limited returns an integer that counts fields of the rest.
func (c *cursor) limited() uint64 {
	n := c.integer()
	if n > uint64(len(c.rest)) {
		c.failed, c.rest = true, nil
		return 0
	}
	return n
}

// add adds bytes. They must be the same each time.
func (h *hello) add(at uint64, data []byte) error {
	if at > maxHello || at+uint64(len(data)) > maxHello {
		return ErrHello
	}
	p := part{int(at), int(at) + len(data)}
	if len(data) == 0 {
		return nil
	}
	for _, known := range h.parts {
		if from, to := max(known.from, p.from), min(known.to, p.to); from < to &&
			!bytes.Equal(h.data[from:to], data[from-p.from:to-p.from]) {
			return ErrHello
		}
	}

	if p.to > len(h.data) {
		h.data = append(h.data, make([]byte, p.to-len(h.data))...)
	}
	copy(h.data[p.from:], data)
	h.join(p)
	if len(h.parts) > maxParts {
		return ErrHello
	}
	return nil
}

// join adds a range to the known ones.
func (h *hello) join(p part) {
	h.parts = slices.DeleteFunc(h.parts, func(known part) bool {
		if known.to < p.from || known.from > p.to {
			return false
		}
		p.from, p.to = min(p.from, known.from), max(p.to, known.to)
		return true
	})
	at, _ := slices.BinarySearchFunc(h.parts, p, func(a, b part) int { return a.from - b.from })
	h.parts = slices.Insert(h.parts, at, p)
}

// read reads the ClientHellos if no byte is missing before the last known one.
func (h *hello) read() (err error) {
	h.complete, h.names = false, nil
	if len(h.parts) != 1 || h.parts[0].from != 0 {
		return nil
	}
	if h.names, h.complete, err = tlshello.Messages(h.data); err != nil {
		return ErrHello
	}
	return nil
}
