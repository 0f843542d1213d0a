// Package portspec parses -p, --publish-address and --expose. It performs no I/O and does not
// depend on gRPC. Its errors have Docker's wording.
package portspec

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
)

// Transport protocols with ports.
const (
	TCP  = "tcp"
	UDP  = "udp"
	SCTP = "sctp"
)

// Mapping is one -p. A zero HostIP means all host addresses, a zero HostPort an ephemeral port, a
// zero end no range.
type Mapping struct {
	Protocol         string
	HostIP           netip.Addr
	HostPort         uint16
	HostPortEnd      uint16
	ContainerPort    uint16
	ContainerPortEnd uint16
	Sources          sources.Set // allowed sources; empty: any
}

// String returns the mapping in the syntax of Parse.
func (m Mapping) String() string {
	ctr := span(m.ContainerPort, m.ContainerPortEnd) + "/" + m.Protocol
	for _, from := range m.Sources.Strings() {
		ctr += ",from=" + from
	}

	host := ""
	if m.HostPort != 0 {
		host = span(m.HostPort, m.HostPortEnd)
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

func span(first, last uint16) string {
	if last == 0 {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// Parse parses [HOST_IP:][HOST_PORT[-END]:]CONTAINER_PORT[-END][/PROTO][,from=CIDR].... An IPv6
// address can be in brackets.
func Parse(spec string) (Mapping, error) {
	m, err := parse(spec)
	if err != nil {
		return Mapping{}, fault.Invalidf("-p "+spec, "publish", "%s", err)
	}
	return m, nil
}

func parse(spec string) (m Mapping, err error) {
	spec, options, limited := strings.Cut(spec, ",")
	if limited {
		if m.Sources, err = parseSources(options); err != nil {
			return m, err
		}
	}

	ip, host, rest := split(spec)
	ctr, proto, _ := strings.Cut(rest, "/")
	if ctr == "" {
		return m, fmt.Errorf("no port specified: %s<empty>", spec)
	}

	if m.Protocol, err = protocol(proto); err != nil {
		return m, err
	}

	if m.HostIP, err = address(ip); err != nil {
		return m, err
	}

	var ok bool
	if m.ContainerPort, m.ContainerPortEnd, ok = ports(ctr); !ok || m.ContainerPort == 0 {
		return m, fmt.Errorf("invalid containerPort: %s", ctr)
	}
	if host == "" {
		return m, nil
	}

	if m.HostPort, m.HostPortEnd, ok = ports(host); !ok || (m.HostPort == 0 && m.HostPortEnd != 0) {
		return m, fmt.Errorf("invalid hostPort: %s", host)
	}

	// An ephemeral host port matches any range. One container port uses the first free port of a
	// host port range.
	if n := length(m.ContainerPort, m.ContainerPortEnd); n > 1 && m.HostPort != 0 &&
		n != length(m.HostPort, m.HostPortEnd) {
		return m, fmt.Errorf("invalid ranges specified for container and host Ports: %s and %s", ctr, host)
	}

	return m, nil
}

// parseSources parses the options after the first comma: one or more from=CIDR.
func parseSources(options string) (sources.Set, error) {
	var texts []string
	for option := range strings.SplitSeq(options, ",") {
		network, ok := strings.CutPrefix(option, "from=")
		if !ok {
			return "", fmt.Errorf("unknown option %q: use from=CIDR", option)
		}
		texts = append(texts, network)
	}
	return sources.Parse(texts)
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

func protocol(s string) (string, error) {
	switch p := strings.ToLower(cmp.Or(s, TCP)); p {
	case TCP, UDP, SCTP:
		return p, nil
	}
	return "", fmt.Errorf("invalid proto: %s", s)
}

func address(s string) (netip.Addr, error) {
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

// ports parses "80" or "80-85". A range of one port returns last 0.
func ports(s string) (first, last uint16, ok bool) {
	a, b, ranged := strings.Cut(s, "-")
	first, ok = port(a)
	if !ok || !ranged {
		return first, 0, ok
	}
	last, ok = port(b)
	if first == last {
		return first, 0, ok
	}
	return first, last, ok && first < last
}

func port(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

func length(first, last uint16) int {
	return int(max(first, last)) - int(first) + 1
}
