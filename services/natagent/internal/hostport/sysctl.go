package hostport

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/port"
)

// EphemeralPorts is the kernel's local port range without its reserved ports.
type EphemeralPorts struct {
	Range    port.Range
	reserved []port.Range
}

// DefaultEphemeral returns the dynamic port range of RFC 6335, for use if the kernel's is unknown.
func DefaultEphemeral() EphemeralPorts {
	return EphemeralPorts{Range: port.Range{First: 49153, Last: 65535}}
}

// Reserved reports whether a port is in ip_local_reserved_ports.
func (d EphemeralPorts) Reserved(number uint16) bool {
	for _, r := range d.reserved {
		if r.Has(number) {
			return true
		}
	}
	return false
}

// ParseDynamic parses net.ipv4.ip_local_port_range and net.ipv4.ip_local_reserved_ports.
func ParseDynamic(portRange, reserved string) (EphemeralPorts, error) {
	f := strings.Fields(portRange)
	if len(f) != 2 {
		return EphemeralPorts{}, fmt.Errorf("ip_local_port_range %q is not a pair of numbers", portRange)
	}

	r, err := parseRange(f[0] + "-" + f[1])
	if err != nil {
		return EphemeralPorts{}, fmt.Errorf("ip_local_port_range: %w", err)
	}

	d := EphemeralPorts{Range: r}
	if reserved = strings.TrimSpace(reserved); reserved == "" {
		return d, nil
	}

	for part := range strings.SplitSeq(reserved, ",") {
		r, err := parseRange(part)
		if err != nil {
			return EphemeralPorts{}, fmt.Errorf("ip_local_reserved_ports: %w", err)
		}
		d.reserved = append(d.reserved, r)
	}

	return d, nil
}

// parseRange parses "80" or "80-90".
func parseRange(s string) (port.Range, error) {
	a, b, two := strings.Cut(strings.TrimSpace(s), "-")
	if !two {
		b = a
	}
	first, err1 := strconv.ParseUint(a, 10, 16)
	last, err2 := strconv.ParseUint(b, 10, 16)
	if err1 != nil || err2 != nil || last < first {
		return port.Range{}, fmt.Errorf("%q is not a valid port range", s)
	}
	return port.Range{First: uint16(first), Last: uint16(last)}, nil
}
