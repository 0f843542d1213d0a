package format

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// Protocol returns the lower-case name of a transport protocol: "tcp".
func Protocol(p natv1.Protocol) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "PROTOCOL_"))
}

// HostPort returns the host address with its port or port range: "0.0.0.0:8080", "[::1]:80". For a
// published address it returns the address alone.
func HostPort(b *natv1.PortBinding) string {
	if b.GetProtocol() == natv1.Protocol_PROTOCOL_ALL {
		return b.GetHostIp()
	}
	return net.JoinHostPort(b.GetHostIp(), HostPorts(b))
}

// HostPorts returns the host port or port range of a binding: "8080", "10000-60000". It is empty
// for a published address and for direct access.
func HostPorts(b *natv1.PortBinding) string {
	if b.GetProtocol() == natv1.Protocol_PROTOCOL_ALL {
		return ""
	}
	if b.GetHostPort() == 0 {
		return ""
	}
	return ports(b.GetHostPort(), max(b.GetHostPort(), b.GetHostPortEnd()))
}

// ContainerPort returns the container port or port range of a binding: "80/tcp", "10000-60000/udp",
// "all".
func ContainerPort(b *natv1.PortBinding) string {
	if b.GetProtocol() == natv1.Protocol_PROTOCOL_ALL {
		return Protocol(b.GetProtocol())
	}
	return ports(b.GetContainerPort(), LastPort(b)) + "/" + Protocol(b.GetProtocol())
}

// LastPort returns the last container port of a binding.
func LastPort(b *natv1.PortBinding) uint32 {
	if b.GetHostPortEnd() == 0 {
		return max(b.GetContainerPort(), b.GetContainerPortEnd())
	}
	return b.GetContainerPort() + b.GetHostPortEnd() - b.GetHostPort()
}

// AllowedSources formats the allowed sources with a leading space: " from 10.0.0.0/8
// 192.168.8.2/32". It is empty if any source is allowed.
func AllowedSources(sources []string) string {
	if len(sources) == 0 {
		return ""
	}
	return " from " + strings.Join(sources, " ")
}

// SortedBindings returns bindings ordered by container port, protocol, host address and host port.
func SortedBindings(bindings []*natv1.PortBinding) []*natv1.PortBinding {
	return slices.SortedStableFunc(slices.Values(bindings), func(a, b *natv1.PortBinding) int {
		return cmp.Or(cmp.Compare(a.GetContainerPort(), b.GetContainerPort()),
			cmp.Compare(Protocol(a.GetProtocol()), Protocol(b.GetProtocol())),
			compareAddresses(a.GetHostIp(), b.GetHostIp()), cmp.Compare(a.GetHostPort(), b.GetHostPort()))
	})
}

// compareAddresses orders IPv4 addresses before IPv6 addresses.
func compareAddresses(a, b string) int {
	family := func(s string) int { return strings.Count(s, ":") }
	return cmp.Or(cmp.Compare(min(family(a), 1), min(family(b), 1)), cmp.Compare(a, b))
}

// span is a range of ports that maps one host address to one protocol.
type span struct {
	hostIP      string
	host, first uint32
	last        uint32
	proto       string
	from        string
}

// Ports returns the PORTS column: "0.0.0.0:8000-8002->80-82/tcp from 10.0.0.0/8, 9000/udp".
// Adjacent ports are merged into ranges. Published addresses come first: "192.168.8.115->all".
func Ports(bindings []*natv1.PortBinding, exposed []*containerv1.ExposedPort) string {
	out := make([]string, 0, len(bindings))
	for _, b := range bindings {
		if b.GetProtocol() == natv1.Protocol_PROTOCOL_ALL {
			out = append(out, b.GetHostIp()+"->"+ContainerPort(b)+AllowedSources(b.GetAllowedSources()))
		}
	}
	for _, s := range merge(spans(bindings, exposed)) {
		out = append(out, s.String())
	}
	return strings.Join(out, ", ")
}

func spans(bindings []*natv1.PortBinding, exposed []*containerv1.ExposedPort) []span {
	var all []span
	type key struct {
		first, last uint32
		proto       natv1.Protocol
	}
	bound := map[key]bool{}
	for _, b := range bindings {
		if b.GetProtocol() == natv1.Protocol_PROTOCOL_ALL {
			continue
		}
		if k := (key{b.GetContainerPort(), LastPort(b), b.GetProtocol()}); b.GetHostPort() != 0 || !bound[k] {
			bound[k] = true
		} else {
			continue // direct access over both families is listed once
		}
		host := b.GetHostIp()
		if b.GetHostPort() == 0 {
			host = ""
		}
		all = append(all, span{host, b.GetHostPort(), b.GetContainerPort(), LastPort(b), Protocol(b.GetProtocol()),
			AllowedSources(b.GetAllowedSources())})
	}

	for _, e := range exposed {
		first, last := e.GetPort(), max(e.GetPort(), e.GetPortEnd())
		if !bound[key{first, last, e.GetProtocol()}] {
			all = append(all, span{"", 0, first, last, Protocol(e.GetProtocol()), ""})
		}
	}

	slices.SortStableFunc(all, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.proto, b.proto), compareAddresses(a.hostIP, b.hostIP),
			cmp.Compare(a.first, b.first), cmp.Compare(a.host, b.host))
	})

	return all
}

// merge merges spans with consecutive ports on both sides and sorts them by container port.
func merge(all []span) []span {
	var merged []span
	for _, s := range all {
		if n := len(merged) - 1; n >= 0 && merged[n].follows(s) {
			merged[n].last = s.last
			continue
		}
		merged = append(merged, s)
	}
	slices.SortStableFunc(merged, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	return merged
}

func (s span) follows(next span) bool {
	return s.hostIP == next.hostIP && s.proto == next.proto && s.from == next.from && next.first == s.last+1 &&
		(s.host == 0) == (next.host == 0) && (s.host == 0 || next.host == s.host+next.first-s.first)
}

func (s span) String() string {
	ctr := ports(s.first, s.last) + "/" + s.proto
	if s.host == 0 {
		return ctr
	}
	host := s.hostIP
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%s->%s%s", host, ports(s.host, s.host+s.last-s.first), ctr, s.from)
}

func ports(first, last uint32) string {
	if first == last {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, last)
}
