package egress

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits bound the traffic of a container. Zero means no limit.
type Limits struct {
	Connections uint32  `json:",omitempty"` // open at the same time, from and to the container
	Packets     Packets `json:",omitzero"`
}

// Packets are numbers of packets in a second, to and from a container. Zero means no limit.
type Packets struct {
	In  uint32 `json:",omitempty"`
	Out uint32 `json:",omitempty"`
}

// IsZero reports whether nothing is limited.
func (l Limits) IsZero() bool { return l == Limits{} }

// ParsePackets parses a value of --packets: "in=1000,out=500", one of both, "1000" for each, or "none".
func ParsePackets(text string) (p Packets, err error) {
	if text == Empty {
		return p, nil
	}
	if !strings.Contains(text, "=") {
		n, err := parseRate(text)
		return Packets{n, n}, err
	}
	for _, part := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		n, err := parseRate(value)
		switch {
		case err != nil:
			return Packets{}, err
		case key == "in" && p.In == 0:
			p.In = n
		case key == "out" && p.Out == 0:
			p.Out = n
		default:
			return Packets{}, fmt.Errorf("%q is not valid, must be in=NUMBER,out=NUMBER", text)
		}
	}
	return p, nil
}

func parseRate(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a number of packets in a second, must be at least 1, as in in=1000,out=500",
			text)
	}
	return uint32(n), nil
}

// String returns the numbers as ParsePackets reads them, empty without limits.
func (p Packets) String() string {
	var all []string
	if p.In > 0 {
		all = append(all, fmt.Sprintf("in=%d", p.In))
	}
	if p.Out > 0 {
		all = append(all, fmt.Sprintf("out=%d", p.Out))
	}
	return strings.Join(all, ",")
}
