package port

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Mapping is one -p: a request to publish container ports on host ports.
type Mapping struct {
	Protocol  Protocol
	HostIP    netip.Addr `json:",omitzero"` // zero: all host addresses
	Host      Range      `json:",omitzero"` // zero: ephemeral ports
	Container Range
	Sources   Sources `json:",omitempty"` // allowed sources
}

// Parse parses [HOST_IP:][HOST_PORT[-END]:]CONTAINER_PORT[-END][/PROTO][,from=CIDR].... An IPv6
// address can be in brackets. The result is valid.
func Parse(spec string) (Mapping, error) {
	m, err := parseMapping(spec)
	if err == nil {
		err = m.Validate()
	}
	if err != nil {
		return Mapping{}, fault.Invalidf("-p "+spec, "publish", "%s", err)
	}
	return m, nil
}

func parseMapping(spec string) (m Mapping, err error) {
	spec, options, limited := strings.Cut(spec, ",")
	if limited {
		if m.Sources, err = parseFrom(options); err != nil {
			return m, err
		}
	}

	ip, host, rest := split(spec)
	ctr, proto, _ := strings.Cut(rest, "/")
	if ctr == "" {
		return m, fmt.Errorf("no port specified: %s<empty>", spec)
	}

	m.Protocol = parseProtocol(proto)
	if err := m.Protocol.validate(); err != nil {
		return m, err
	}

	if m.HostIP, err = parseHostIP(ip); err != nil {
		return m, err
	}

	var ok bool
	if m.Container, ok = parseRange(ctr); !ok {
		return m, fmt.Errorf("invalid containerPort: %s", ctr)
	}
	if host == "" {
		return m, nil
	}
	if m.Host, ok = parseRange(host); !ok {
		return m, fmt.Errorf("invalid hostPort: %s", host)
	}

	return m, nil
}

// parseFrom parses the options after the first comma: one or more from=CIDR.
func parseFrom(options string) (Sources, error) {
	var texts []string
	for option := range strings.SplitSeq(options, ",") {
		network, ok := strings.CutPrefix(option, "from=")
		if !ok {
			return "", fmt.Errorf("unknown option %q: use from=CIDR", option)
		}
		texts = append(texts, network)
	}
	return ParseSources(texts)
}

// split splits a specification from its end, because an IPv6 address contains colons.
func split(spec string) (ip, host, ctr string) {
	i := strings.LastIndexByte(spec, ':')
	if i < 0 {
		return "", "", spec
	}
	front, ctr := spec[:i], spec[i+1:]
	if i = strings.LastIndexByte(front, ':'); i < 0 {
		return "", front, ctr
	}
	return front[:i], front[i+1:], ctr
}

// parseHostIP parses a host address; empty means none. An IPv6 address can be in brackets.
func parseHostIP(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}

	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}

	a, err := netip.ParseAddr(bare)
	if err != nil || a.Zone() != "" || (bare != s && a.Is4()) {
		return netip.Addr{}, fmt.Errorf("invalid IP address: %s", s)
	}

	return a.Unmap(), nil
}

// Validate checks the mapping on its own. The error has no subject.
//
// A host range as long as the container range maps one to one. A single container port uses the
// first free port of a host range. Ephemeral host ports match any container range.
func (m Mapping) Validate() error {
	if err := m.Protocol.validate(); err != nil {
		return err
	}
	if m.HostIP.IsValid() && (m.HostIP.Zone() != "" || m.HostIP.IsMulticast() || m.HostIP.Is4In6()) {
		return fmt.Errorf("invalid IP address: %s", m.HostIP)
	}
	if err := m.Container.validate("containerPort"); err != nil {
		return err
	}
	if m.Host.IsZero() {
		return nil
	}
	if err := m.Host.validate("hostPort"); err != nil {
		return err
	}
	if m.Container.Len() > 1 && m.Container.Len() != m.Host.Len() {
		return fmt.Errorf("invalid ranges specified for container and host Ports: %s and %s", m.Container, m.Host)
	}
	return nil
}

// String returns the mapping in the syntax of Parse.
func (m Mapping) String() string {
	ctr := m.Container.String() + "/" + string(m.Protocol)
	for _, from := range m.Sources.Strings() {
		ctr += ",from=" + from
	}

	host := ""
	if !m.Host.IsZero() {
		host = m.Host.String()
	}

	switch {
	case m.HostIP.Is6():
		return "[" + m.HostIP.String() + "]:" + host + ":" + ctr
	case m.HostIP.IsValid():
		return m.HostIP.String() + ":" + host + ":" + ctr
	case host != "":
		return host + ":" + ctr
	}

	return ctr
}
