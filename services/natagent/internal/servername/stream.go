package servername

import (
	"github.com/fairlead/fairlead/services/natagent/internal/servername/httphead"
	"github.com/fairlead/fairlead/services/natagent/internal/servername/tlshello"
)

// stream is the bytes of a connection in one protocol.
type stream interface {
	// read reads bytes of the client up to those that can be skipped, and returns their number and the names
	// that it asks for.
	read(data []byte) (n int, names []string, err error)
	skippable() int64
	skip(n int)
	// reply decides about a packet with data of the server. first is true for its first bytes, and
	// acknowledged if it has all of the client's bytes that matter.
	reply(data []byte, first, acknowledged bool) Action
}

// tlsStream is checked until the server has answered the last ClientHello.
type tlsStream struct {
	reader   tlshello.Reader
	answered bool // the first ClientHello
	needed   int  // number of ClientHellos
}

func (t *tlsStream) read(data []byte) (n int, names []string, err error) {
	n, err = t.reader.Feed(data)
	return n, t.reader.Take(), err
}

func (t *tlsStream) skippable() int64 { return int64(t.reader.Skippable()) }

func (t *tlsStream) skip(n int) { t.reader.Skip(n) }

func (t *tlsStream) reply(data []byte, first, acknowledged bool) Action {
	if first {
		again, ok := tlshello.AsksAgain(data)
		t.answered, t.needed = ok, 1
		if again {
			t.needed = 2
		}
	}
	if t.answered && acknowledged && t.reader.Hellos() >= t.needed {
		return Verified
	}
	return Accept
}

// httpStream is checked as long as it is not another protocol.
type httpStream struct{ reader httphead.Reader }

func (h *httpStream) read(data []byte) (n int, names []string, err error) {
	n, err = h.reader.Feed(data)
	return n, h.reader.Take(), err
}

func (h *httpStream) skippable() int64 { return h.reader.Skippable() }

func (h *httpStream) skip(n int) { h.reader.Skip(n) }

func (h *httpStream) reply(data []byte, first, _ bool) Action {
	if !h.reader.Switching() {
		return Accept
	}
	if !first { // the response began before the request
		return Accept
	}
	opaque, err := h.reader.Reply(data)
	switch {
	case err != nil:
		return Refuse
	case opaque:
		return Verified
	}
	return Accept
}
