// Package quichello reads the server names of QUIC clients from their Initial packets, which are encrypted with
// keys that anyone on the path can derive. Package servername uses it. It performs no I/O; with an encrypted
// ClientHello the name is the outer one.
//
// A server can take each Initial packet for a part of a ClientHello, also long after the handshake, so all of
// them are read. Of other packets only the type is read. A server cannot use them before the ClientHello.
package quichello

import (
	"errors"
	"slices"
)

// maxConnections bounds the QUIC connections of a flow. The last ones are known.
const maxConnections = 8

// Errors of Datagram.
var (
	ErrNotQUIC = errors.New("is not QUIC, or has a version that is not known")
	ErrFrames  = errors.New("has frames that are not valid")
	ErrHello   = errors.New("has a ClientHello that is not valid")
)

// State is the use of a datagram.
type State int

// The states.
const (
	Useless  State = iota // no server can use it, or it belongs to a connection that is not known
	Waiting               // the ClientHello is not complete
	Complete              // all its parts belong to connections with a complete ClientHello
)

// Flow reads the datagrams from one address and port of a client to one of a server. A flow can have several
// QUIC connections. The zero value is an empty flow.
type Flow struct {
	connections []*connection // the last one was used last
}

// connection is a connection with the ID that the client chose, from which its keys are derived.
type connection struct {
	id    string
	keys  map[uint32]*keys // by version
	last  int64            // largest packet number
	hello hello
}

// maxInitial bounds the Initial packets of a datagram. Clients send one or two.
const maxInitial = 8

// Datagram reads a datagram. names are those of the connections that it has a part of.
func (f *Flow) Datagram(data []byte) (names []string, s State, err error) {
	s = Complete
	var parts []*connection
	initial := 0
	for len(data) > 0 {
		p, rest, err := parse(data)
		if err != nil {
			return nil, Useless, err
		}
		data = rest
		if p.kind != kindInitial {
			s = min(s, f.other(p, parts))
			continue
		}
		if initial++; initial > maxInitial {
			return nil, Useless, ErrFrames
		}
		found, err := f.initial(p)
		if err != nil {
			return nil, Useless, err
		}
		if parts = append(parts, found...); len(found) == 0 {
			s = Useless
		}
	}

	for _, c := range parts {
		if !c.hello.complete {
			s = min(s, Waiting)
		}
		names = append(names, c.hello.names...)
	}
	return names, s, nil
}

// other returns what is known about a packet that is not Initial, after those in its datagram that are.
func (f *Flow) other(p packet, parts []*connection) State {
	switch {
	case len(parts) > 0, f.complete():
		return Complete
	case p.kind == kindZeroRTT && len(f.connections) > 0:
		return Waiting
	}
	return Useless
}

// complete reports whether the flow has a connection with a complete ClientHello.
func (f *Flow) complete() bool {
	return slices.ContainsFunc(f.connections, func(c *connection) bool { return c.hello.complete })
}

// Whole reports whether the ClientHellos of all connections are complete.
func (f *Flow) Whole() bool {
	return !slices.ContainsFunc(f.connections, func(c *connection) bool { return !c.hello.complete })
}

// Names returns the names of all connections with a complete ClientHello.
func (f *Flow) Names() (names []string) {
	for _, c := range f.connections {
		if c.hello.complete {
			names = append(names, c.hello.names...)
		}
	}
	return names
}

// initial reads an Initial packet, and returns the connections that it can belong to. Its keys are those of the
// connection ID in it, or of an earlier one: which of them the server uses is not known here, so that what each
// of them decrypts is read.
func (f *Flow) initial(p packet) (found []*connection, err error) {
	known := f.connections
	if f.byID(p.id) == nil {
		known = append(slices.Clip(known), &connection{id: p.id, keys: map[uint32]*keys{}, last: -1})
	}
	for _, c := range known {
		frames, ok := c.open(p)
		if !ok {
			continue
		}
		if err := c.hello.addFrames(frames); err != nil {
			return nil, err
		}
		if err := f.use(c); err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, nil
}

func (f *Flow) byID(id string) *connection {
	if at := slices.IndexFunc(f.connections, func(c *connection) bool { return c.id == id }); at >= 0 {
		return f.connections[at]
	}
	return nil
}

// use makes a connection the last one, and forgets the first one if there are too many. Parts of one that is not
// complete can wait, so that it is not forgotten.
func (f *Flow) use(c *connection) error {
	others := slices.DeleteFunc(slices.Clone(f.connections), func(o *connection) bool { return o == c })
	if len(others) == maxConnections {
		if !others[0].hello.complete {
			return ErrHello
		}
		others = others[1:]
	}
	f.connections = append(others, c)
	return nil
}

// open decrypts a packet. ok is false if it has other keys.
func (c *connection) open(p packet) (frames []byte, ok bool) {
	k := c.keys[p.version]
	if k == nil {
		var err error
		if k, err = derive(p.version, c.id); err != nil {
			return nil, false
		}
		c.keys[p.version] = k
	}
	frames, number, ok := k.open(p, c.last)
	if ok {
		c.last = max(c.last, number)
	}
	return frames, ok
}
