// Package publication defines port mappings and published addresses, validates them, and resolves
// them to requests for host ports.
//
// It performs no I/O. Ports are allocated by package publish, which is also its main caller.
package publication

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/sources"
)

// Protocol is a transport protocol with ports.
type Protocol string

// Transport protocols, named as in Docker.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"

	// All stands for all IP protocols. Only the Binding of a published address has it.
	All Protocol = "all"
)

// Number returns the protocol number of the IP header, or 0.
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

// Binding is a port binding: one host port and its container port, a port range with equal host and
// container ports, or a published address. With Direct, it is a port or a range at the container's
// own address.
type Binding struct {
	Protocol      Protocol
	HostIP        netip.Addr // unspecified: all addresses of the family
	HostPort      uint16     // 0 for a published address
	HostPortEnd   uint16     `json:",omitempty"` // the last port of a range; 0: a single port
	ContainerIP   netip.Addr
	ContainerPort uint16 // 0 for a published address
	SNAT          bool   `json:",omitempty"` // HostIP is the source of egress; published addresses only
	OwnerName     string `json:",omitempty"` // the container's name, shown in firewall rules

	// Sources are the allowed sources. The host itself can always connect.
	Sources sources.Set `json:",omitempty"`
}

// Direct reports whether clients connect to the container's own address, without translation.
func (b Binding) Direct() bool { return b.HostIP == b.ContainerIP }

// IsAddress reports whether b is a published address.
func (b Binding) IsAddress() bool { return b.Protocol == All }

// IsRange reports whether b is a port range.
func (b Binding) IsRange() bool { return b.HostPortEnd != 0 }

// LastPort returns the last host port.
func (b Binding) LastPort() uint16 { return max(b.HostPort, b.HostPortEnd) }

// Subject returns the name of the binding in messages.
func (b Binding) Subject() string {
	switch {
	case b.IsAddress():
		return "address " + b.HostIP.String()
	case b.IsRange():
		return fmt.Sprintf("ports %s-%d/%s", b.Host(), b.HostPortEnd, b.Protocol)
	}
	return Subject(b.HostIP, b.HostPort, b.Protocol)
}

// Host returns the address and port that clients connect to.
func (b Binding) Host() netip.AddrPort { return netip.AddrPortFrom(b.HostIP, b.HostPort) }

// Target returns the container address and port.
func (b Binding) Target() netip.AddrPort { return netip.AddrPortFrom(b.ContainerIP, b.ContainerPort) }

// Publication holds all bindings of an owner.
type Publication struct {
	Owner     string // the container ID
	OwnerName string // the container's name, for messages
	IPv4      netip.Addr
	IPv6      netip.Addr
	Routed4   bool      `json:",omitempty"` // the network of the IPv4 address is routed
	Routed6   bool      `json:",omitempty"`
	Mappings  []Mapping // as requested
	Addresses []Address `json:",omitempty"` // as requested
	Bindings  []Binding // in effect, sorted
}

// Same reports whether p and q request the same. Bindings and the owner's name are ignored.
func (p *Publication) Same(q *Publication) bool {
	return p.IPv4 == q.IPv4 && p.IPv6 == q.IPv6 && slices.Equal(p.Mappings, q.Mappings) &&
		slices.Equal(p.Addresses, q.Addresses)
}

// AnyFamily returns the bindings on all IPv4 addresses whose mappings name no host address.
// It returns none if the container has an IPv6 address: such mappings then have IPv6 bindings of
// their own, or the gateway mode excludes them.
func (p *Publication) AnyFamily() []Binding {
	if p.IPv6.IsValid() {
		return nil
	}

	var found []Binding
	for _, b := range p.Bindings {
		if b.HostIP == netip.IPv4Unspecified() && slices.ContainsFunc(p.Mappings,
			func(m Mapping) bool { return m.HostIP == "" && m.covers(b) }) {
			found = append(found, b)
		}
	}

	return found
}

// Sort orders bindings by container port, protocol and host address.
func Sort(bindings []Binding) {
	slices.SortFunc(bindings, func(a, b Binding) int {
		return cmp.Or(
			cmp.Compare(a.ContainerPort, b.ContainerPort),
			cmp.Compare(a.Protocol, b.Protocol),
			a.HostIP.Compare(b.HostIP),
			cmp.Compare(a.HostPort, b.HostPort))
	})
}

// Overlap reports whether a and b cannot bind the same port. They cannot if they are equal or one
// is the unspecified address of the other's family.
func Overlap(a, b netip.Addr) bool {
	return a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}

// Subject returns the name of a host port in messages: `port 0.0.0.0:8080/tcp`.
func Subject(ip netip.Addr, port uint16, proto Protocol) string {
	return fmt.Sprintf("port %s/%s", netip.AddrPortFrom(ip, port), proto)
}
