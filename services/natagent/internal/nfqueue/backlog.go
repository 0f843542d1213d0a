package nfqueue

import "bytes"

// Class identifies those whose packets wait together.
type Class uint64

// Limits of the packets of a class that wait for a decision.
const (
	maxWaiting = 256
	maxBytes   = 4 << 20
)

// backlog has the packets that wait for a decision, by class.
type backlog struct {
	lines    map[Class]*line
	turns    []*line   // those with packets; the first one is next
	borrowed []*Packet // whose data is that of the reader's buffer
	count    int
}

// line has the packets of a class, oldest first.
type line struct {
	class   Class
	packets []*Packet
	bytes   int
}

// add adds a packet. It reports whether its class had not too many.
func (b *backlog) add(c Class, p Packet) bool {
	l := b.lines[c]
	if l == nil {
		if b.lines == nil {
			b.lines = map[Class]*line{}
		}
		l = &line{class: c}
		b.lines[c] = l
		b.turns = append(b.turns, l)
	}
	if len(l.packets) >= maxWaiting || l.bytes+len(p.Data) > maxBytes {
		return false
	}
	l.packets = append(l.packets, &p)
	l.bytes += len(p.Data)
	b.borrowed = append(b.borrowed, &p)
	b.count++
	return true
}

// next removes a packet of the class whose turn it is; ok is false if none waits.
func (b *backlog) next() (p Packet, ok bool) {
	if b.count == 0 {
		return p, false
	}
	l := b.turns[0]
	b.turns = b.turns[1:]
	first := l.packets[0]
	p, *first = *first, Packet{}
	l.packets[0], l.packets = nil, l.packets[1:]
	l.bytes -= len(p.Data)
	b.count--
	if len(l.packets) == 0 {
		delete(b.lines, l.class)
	} else {
		b.turns = append(b.turns, l)
	}
	return p, true
}

// keep copies the data of packets that wait, before the reader uses its buffer again.
func (b *backlog) keep() {
	for _, p := range b.borrowed {
		p.Data = bytes.Clone(p.Data) // of nil: nil
	}
	clear(b.borrowed)
	b.borrowed = b.borrowed[:0]
}
