package egress

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/bandwidth"
)

// Limits bound the traffic of a container. Zero means that none were given: those of the network apply.
type Limits struct {
	Connections    uint32  `json:",omitempty"` // open at the same time, from and to the container
	AnyConnections bool    `json:",omitempty"` // no limit of connections, whatever applies without a value
	Packets        Packets `json:",omitzero"`
}

// Packets are numbers of packets in a second, to and from a container. Zero means that none were given.
type Packets struct {
	In   uint32 `json:",omitempty"`
	Out  uint32 `json:",omitempty"`
	None bool   `json:",omitempty"` // no limit, whatever applies without a value
}

// Defaults are the limits of a network, or of the configuration, for containers without limits of their own.
type Defaults struct {
	Bandwidth bandwidth.Limit `json:",omitzero"`
	Limits    Limits          `json:",omitzero"`
}

// Validate returns an error for limits that cannot be parsed from texts.
func (d Defaults) Validate() error {
	if err := d.Bandwidth.Validate(); err != nil {
		return err
	}
	if d.Limits.AnyConnections && d.Limits.Connections != 0 {
		return fmt.Errorf("%d connections are a limit and none", d.Limits.Connections)
	}
	if p := d.Limits.Packets; p.None && p.IsLimited() {
		return fmt.Errorf("%s packets are a limit and none", Packets{In: p.In, Out: p.Out})
	}
	return nil
}

// Or returns the limits, and the others where none were given.
func (d Defaults) Or(other Defaults) Defaults {
	return Defaults{Bandwidth: d.Bandwidth.Or(other.Bandwidth), Limits: d.Limits.Or(other.Limits)}
}

// IsLimited reports whether anything is limited.
func (d Defaults) IsLimited() bool { return d.Bandwidth.IsLimited() || d.Limits.IsLimited() }

// IsLimited reports whether anything is limited.
func (l Limits) IsLimited() bool { return l.Connections != 0 || l.Packets.IsLimited() }

// IsLimited reports whether a direction is limited.
func (p Packets) IsLimited() bool { return p.In != 0 || p.Out != 0 }

// Or returns the limits, and the others where none were given.
func (l Limits) Or(other Limits) Limits {
	if l.Connections == 0 && !l.AnyConnections {
		l.Connections, l.AnyConnections = other.Connections, other.AnyConnections
	}
	if l.Packets == (Packets{}) {
		l.Packets = other.Packets
	}
	return l
}

// InForce returns the limits as numbers only, where zero means no limit.
func (l Limits) InForce() Limits {
	return Limits{Connections: l.Connections, Packets: Packets{In: l.Packets.In, Out: l.Packets.Out}}
}

// ParsePackets parses a value of --packets: "in=1000,out=500", one of both, "1000" for each, or "none".
func ParsePackets(text string) (p Packets, err error) {
	if text == Empty {
		return Packets{None: true}, nil
	}
	if !strings.Contains(text, "=") {
		n, err := parseRate(text)
		return Packets{In: n, Out: n}, err
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

// String returns the numbers as ParsePackets reads them. It is empty if none were given.
func (p Packets) String() string {
	if p.None {
		return Empty
	}
	var all []string
	if p.In > 0 {
		all = append(all, fmt.Sprintf("in=%d", p.In))
	}
	if p.Out > 0 {
		all = append(all, fmt.Sprintf("out=%d", p.Out))
	}
	return strings.Join(all, ",")
}
