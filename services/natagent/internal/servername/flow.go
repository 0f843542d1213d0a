package servername

import (
	"bytes"
	"net/netip"
	"time"
)

// flow is a connection whose client can still ask for a name.
type flow struct {
	mac    MAC
	owner  string
	used   time.Time
	stream stream

	first  uint32 // sequence number of the client's first packet
	opened bool   // the server has accepted the connection
	next   uint32 // of the client's next byte

	serverFirst uint32 // sequence number of the server's first byte
	kept        []kept // with names, not acknowledged; in order
	keptBytes   int
	clientDone  bool
	serverDone  bool
}

// kept is a range of the client's bytes.
type kept struct {
	seq  uint32
	data []byte
}

// end returns the sequence number after the range.
func (k kept) end() uint32 { return k.seq + uint32(len(k.data)) }

// past reports whether sequence number a is after b.
func past(a, b uint32) bool { return int32(a-b) > 0 }

func newFlow(port uint16, mac MAC, owner string, first uint32, now time.Time) *flow {
	f := &flow{mac: mac, owner: owner, used: now, first: first, stream: &tlsStream{}}
	if port == portHTTP {
		f.stream = &httpStream{}
	}
	return f
}

// ended reports whether both ends have closed the connection.
func (f *flow) ended() bool { return f.clientDone && f.serverDone }

// request decides about a packet of the client.
func (f *flow) request(s segment, owner Owner, server netip.AddrPort) (a Action, name string) {
	switch {
	case s.has(flagRST):
		return Accept, ""
	case !f.opened:
		return Drop, ""
	case s.has(flagURG): // servers take a byte out of the stream, also of later segments
		return Refuse, ""
	}

	if !f.matches(s) {
		return Refuse, ""
	}
	known := f.next - s.seq
	switch {
	case past(s.seq, f.next): // the client sends it again after what is missing
		return Drop, ""
	case s.length() <= known:
		return Accept, ""
	}
	if s.has(flagFIN) {
		f.clientDone = true
	}
	if known >= uint32(len(s.payload)) {
		return Accept, ""
	}

	if name, ok := f.read(s.payload[known:], owner, server); !ok {
		return Refuse, name
	}
	return Accept, ""
}

// matches reports whether a segment has the bytes that were checked before.
func (f *flow) matches(s segment) bool {
	for _, k := range f.kept {
		from, mine, theirs := int32(k.seq-s.seq), k.data, s.payload
		if from >= 0 {
			theirs = theirs[min(int(from), len(theirs)):]
		} else {
			mine = mine[min(int(-from), len(mine)):]
		}
		n := min(len(mine), len(theirs))
		if !bytes.Equal(mine[:n], theirs[:n]) {
			return false
		}
	}
	return true
}

// read reads new bytes of the client; ok is false if it asks for a name that is not allowed, which is
// returned.
func (f *flow) read(data []byte, owner Owner, server netip.AddrPort) (name string, ok bool) {
	for len(data) > 0 {
		if n := min(f.stream.skippable(), int64(len(data))); n > 0 {
			f.stream.skip(int(n))
			data, f.next = data[n:], f.next+uint32(n)
			continue
		}

		n, names, err := f.stream.read(data)
		for _, name := range names {
			if !owner.AllowsServer(name, server) {
				return name, false
			}
		}
		if f.keptBytes += n; err != nil || f.keptBytes > maxKept {
			return "", false
		}
		f.keep(data[:n])
		data, f.next = data[n:], f.next+uint32(n)
	}
	return "", true
}

// keep adds the bytes at f.next to those that are kept. Small neighbours are joined, as all are compared with
// each segment.
func (f *flow) keep(data []byte) {
	if at := len(f.kept) - 1; at >= 0 {
		last := &f.kept[at]
		if last.end() == f.next && len(last.data)+len(data) <= maxJoined {
			last.data = append(last.data, data...)
			return
		}
	}
	f.kept = append(f.kept, kept{f.next, bytes.Clone(data)})
}

// reply decides about a packet of the server.
func (f *flow) reply(s segment) Action {
	switch {
	case s.has(flagRST):
		return Accept
	case s.has(flagSYN):
		return f.accept(s)
	case !f.opened:
		return Drop
	}
	if s.has(flagACK) && !f.acknowledge(s.ack) {
		return Drop
	}
	if s.has(flagFIN) {
		f.serverDone = true
	}
	if len(s.payload) == 0 {
		return Accept
	}
	return f.stream.reply(s.payload, s.seq == f.serverFirst, len(f.kept) == 0)
}

// accept reads the server's first packet.
func (f *flow) accept(s segment) Action {
	if !s.has(flagACK) || s.ack != f.first+1 || len(s.payload) > 0 {
		return Drop
	}
	if !f.opened {
		f.opened, f.next, f.serverFirst = true, s.ack, s.seq+1
	}
	return Accept
}

// acknowledge forgets bytes that the server has. It reports whether the client has sent them.
func (f *flow) acknowledge(ack uint32) bool {
	sent := f.next
	if f.clientDone {
		sent++
	}
	if past(ack, sent) {
		return false
	}
	n := 0
	for n < len(f.kept) && !past(f.kept[n].end(), ack) {
		f.keptBytes -= len(f.kept[n].data)
		n++
	}
	f.kept = f.kept[n:]
	return true
}
