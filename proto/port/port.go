// Package port is the model of published ports: ranges, port mappings (-p), published addresses
// (--publish-address), exposed ports (--expose) and port bindings.
//
// It performs no I/O. Package portpb converts the model to and from protobuf messages. The command
// line, the supervisor, natagent and Go clients use both. Its errors have Docker's wording.
package port

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Protocol is a transport protocol with ports, or All.
type Protocol string

// Protocols, named as in Docker.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"

	// All means every IP protocol. Only the Binding of a published address has it.
	All Protocol = "all"
)

// Number returns the protocol number of the IP header. It is 0 for All and unknown protocols.
func (p Protocol) Number() uint8 {
	switch p {
	case TCP:
		return 6
	case UDP:
		return 17
	case SCTP:
		return 132
	}
	return 0
}

// validate rejects everything but transport protocols with ports.
func (p Protocol) validate() error {
	if p.Number() == 0 {
		return fmt.Errorf("invalid proto: %s", string(p))
	}
	return nil
}

// parseProtocol parses a name in any case. Empty means TCP. Validate rejects unknown names.
func parseProtocol(name string) Protocol { return Protocol(cmp.Or(strings.ToLower(name), string(TCP))) }

// Range is a range of ports. A single port has equal First and Last. The zero value means that no
// port is given.
type Range struct{ First, Last uint16 }

// Single returns the range of one port. Port 0 returns the zero value.
func Single(n uint16) Range { return Range{First: n, Last: n} }

// IsZero reports whether no port is given.
func (r Range) IsZero() bool { return r == Range{} }

// Len returns the number of ports, 0 for the zero value.
func (r Range) Len() int {
	if r.IsZero() {
		return 0
	}
	return int(r.Last) - int(r.First) + 1
}

// Has reports whether a port is in r.
func (r Range) Has(n uint16) bool { return r.First <= n && n <= r.Last }

// Contains reports whether all ports of o are in r.
func (r Range) Contains(o Range) bool { return r.First <= o.First && o.Last <= r.Last }

// Overlaps reports whether r and o have a port in common.
func (r Range) Overlaps(o Range) bool { return r.First <= o.Last && o.First <= r.Last }

// String returns "80", "80-85", or "0" for the zero value.
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalText returns the form of String. The zero value is empty.
func (r Range) MarshalText() ([]byte, error) {
	if r.IsZero() {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText parses the form of MarshalText. It does not validate the order of the ports.
func (r *Range) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Range{}
		return nil
	}
	parsed, ok := parseRange(string(text))
	if !ok {
		return fmt.Errorf("%q is not a valid port range", text)
	}
	*r = parsed
	return nil
}

// validate rejects ranges that run backwards or contain port 0, and so the zero value.
func (r Range) validate(name string) error {
	if r.First == 0 || r.Last < r.First {
		return fmt.Errorf("invalid %s: %s", name, r)
	}
	return nil
}

// parseRange parses "80" or "80-85".
func parseRange(s string) (r Range, ok bool) {
	first, last, ranged := strings.Cut(s, "-")
	if r.First, ok = parsePort(first); !ok {
		return r, false
	}
	r.Last = r.First
	if ranged {
		r.Last, ok = parsePort(last)
	}
	return r, ok
}

func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}
