package tlshello

import (
	"encoding/binary"
	"strings"
)

// extensionServerName is the type of RFC 6066.
const extensionServerName = 0

// cursor reads fields of a message. After an error all fields are empty.
type cursor struct {
	rest   []byte
	failed bool
}

func (c *cursor) bytes(n int) []byte {
	if n > len(c.rest) {
		c.failed, c.rest = true, nil
		return nil
	}
	out := c.rest[:n]
	c.rest = c.rest[n:]
	return out
}

// vector returns a field after its length, which has one or two bytes.
func (c *cursor) vector(size int) []byte {
	switch length := c.bytes(size); {
	case length == nil:
		return nil
	case size == 1:
		return c.bytes(int(length[0]))
	default:
		return c.bytes(int(binary.BigEndian.Uint16(length)))
	}
}

// parse returns the server name of a ClientHello, in lower case and empty if there is none.
func parse(hello []byte) (name string, err error) {
	const version, random, short, long = 2, 32, 1, 2
	c := &cursor{rest: hello}
	c.bytes(version + random)
	c.vector(short) // session
	c.vector(long)  // cipher suites
	c.vector(short) // compression methods
	if c.failed {
		return "", ErrHello
	}
	if len(c.rest) == 0 {
		return "", nil
	}

	extensions := &cursor{rest: c.vector(long)}
	if c.failed || len(c.rest) > 0 {
		return "", ErrHello
	}
	found := false
	for len(extensions.rest) > 0 {
		kind, data := extensions.bytes(2), extensions.vector(long)
		if extensions.failed {
			return "", ErrHello
		}
		if binary.BigEndian.Uint16(kind) != extensionServerName {
			continue
		}
		if found {
			return "", ErrHello
		}
		if name, err = serverName(data); err != nil {
			return "", err
		}
		found = true
	}
	return name, nil
}

// serverName returns the name of the extension. A list with several names is not valid.
func serverName(data []byte) (string, error) {
	c := &cursor{rest: data}
	list := &cursor{rest: c.vector(2)}
	kind, name := list.bytes(1), list.vector(2)
	if c.failed || list.failed || len(c.rest)+len(list.rest) > 0 || kind[0] != 0 {
		return "", ErrHello
	}
	text := strings.ToLower(string(name))
	if text == "" || len(text) > 255 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return "", ErrHello
	}
	return text, nil
}
