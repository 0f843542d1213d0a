package publication

import (
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
)

// Mapping is a port mapping, as `-p` requests it:
// [HOST_IP:][HOST_PORT[-END]:]CONTAINER_PORT[-END][/PROTOCOL][,from=CIDR].
// Zero values mean "not given".
type Mapping struct {
	Protocol         Protocol
	HostIP           string
	HostPort         uint32
	HostPortEnd      uint32
	ContainerPort    uint32
	ContainerPortEnd uint32
	Sources          sources.Set `json:",omitempty"`
}

// covers reports whether b can result from the mapping.
func (m Mapping) covers(b Binding) bool {
	container, host := uint32(b.ContainerPort), uint32(b.HostPort)
	if m.Protocol != b.Protocol || container < m.ContainerPort || container > max(m.ContainerPort, m.ContainerPortEnd) {
		return false
	}
	return m.HostPort == 0 || host >= m.HostPort && host <= max(m.HostPort, m.HostPortEnd)
}

// String formats the mapping as a `-p` argument.
func (m Mapping) String() string {
	s := ports(m.ContainerPort, m.ContainerPortEnd)
	host := ""
	if m.HostPort != 0 {
		host = ports(m.HostPort, m.HostPortEnd)
	}

	switch addr, err := netip.ParseAddr(m.HostIP); {
	case m.HostIP == "" && host != "":
		s = host + ":" + s
	case err == nil && addr.Is6():
		s = "[" + m.HostIP + "]:" + host + ":" + s
	case m.HostIP != "":
		s = m.HostIP + ":" + host + ":" + s
	}

	return s + "/" + string(m.Protocol)
}

func ports(first, end uint32) string {
	if end == 0 || end == first {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, end)
}

func (m Mapping) subject() string { return "publish " + m.String() }

func (m Mapping) invalid(format string, args ...any) error {
	return fault.Invalidf(m.subject(), "publish", format, args...)
}

// span is a port range; the zero value is empty.
type span struct{ first, last uint16 }

func (s span) len() int { return int(s.last) - int(s.first) + 1 }

// parsed is a validated mapping.
type parsed struct {
	host      netip.Addr // zero: not given
	hostPorts span       // zero: ephemeral ports
	ctrPorts  span
}

// parse validates the mapping on its own.
func (m Mapping) parse() (p parsed, err error) {
	if m.Protocol.Number() == 0 {
		return p, m.invalid("invalid proto: %s", string(m.Protocol))
	}
	if p.host, err = m.parseHost(); err != nil {
		return p, err
	}
	if p.ctrPorts, err = m.parseSpan("containerPort", m.ContainerPort, m.ContainerPortEnd); err != nil {
		return p, err
	}
	if m.HostPort == 0 && m.HostPortEnd == 0 {
		return p, nil
	}
	if p.hostPorts, err = m.parseSpan("hostPort", m.HostPort, m.HostPortEnd); err != nil {
		return p, err
	}

	if p.ctrPorts.len() != 1 && p.ctrPorts.len() != p.hostPorts.len() {
		return p, m.invalid("invalid ranges specified for container and host Ports: %s and %s",
			ports(m.ContainerPort, m.ContainerPortEnd), ports(m.HostPort, m.HostPortEnd))
	}

	return p, nil
}

func (m Mapping) parseHost() (netip.Addr, error) {
	if m.HostIP == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(m.HostIP)
	if err != nil || addr.Zone() != "" || addr.IsMulticast() {
		return netip.Addr{}, m.invalid("invalid IP address: %s", m.HostIP)
	}
	return addr.Unmap(), nil
}

func (m Mapping) parseSpan(what string, first, end uint32) (span, error) {
	if end == 0 {
		end = first
	}
	if first < 1 || first > 65535 || end < first || end > 65535 {
		return span{}, m.invalid("invalid %s: %s", what, ports(first, end))
	}
	return span{uint16(first), uint16(end)}, nil
}
