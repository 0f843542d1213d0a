package hostport

import (
	"fmt"
	"strconv"
	"strings"
)

// EphemeralPorts is the kernel's local port range without its reserved ports.
type EphemeralPorts struct {
	Range    Range
	reserved []Range
}

// DefaultEphemeral returns the dynamic port range of RFC 6335, for use if the kernel's is unknown.
func DefaultEphemeral() EphemeralPorts { return EphemeralPorts{Range: Range{49153, 65535}} }

// Reserved reports whether a port is in ip_local_reserved_ports.
func (d EphemeralPorts) Reserved(port uint16) bool {
	for _, r := range d.reserved {
		if r.Contains(port) {
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
func parseRange(s string) (Range, error) {
	a, b, two := strings.Cut(strings.TrimSpace(s), "-")
	if !two {
		b = a
	}
	first, err1 := strconv.ParseUint(a, 10, 16)
	last, err2 := strconv.ParseUint(b, 10, 16)
	if err1 != nil || err2 != nil || last < first {
		return Range{}, fmt.Errorf("%q is not a valid port range", s)
	}
	return Range{uint16(first), uint16(last)}, nil
}
