// Package publication knows what "publish" means: it reads port mappings, refuses those that cannot be, and works out which
// host ports are wanted for which container ports.
//
// It is pure. Which ports are free, sockets, the firewall and the store are not its business.
package publication

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/sources"
)

// Protocol is a transport that has ports.
type Protocol string

// The transports, by the names that Docker prints.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"

	// All is every protocol, those without ports too: only in the Binding of a whole address.
	All Protocol = "all"
)

// Number is the transport's number in an IP header.
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

// Binding is one host port that leads to one container port, a run of ports that lead to those of the same numbers, or a whole
// address; or a port, or a run of them, that is open at the container's own address.
type Binding struct {
	Protocol      Protocol
	HostIP        netip.Addr // unspecified: all addresses of its family
	HostPort      uint16     // 0 for a whole address
	HostPortEnd   uint16     `json:",omitempty"` // the last port of a run; 0: there is just one
	ContainerIP   netip.Addr
	ContainerPort uint16 // 0 for a whole address
	SNAT          bool   `json:",omitempty"` // what the container sends out leaves as HostIP; only of a whole address
	OwnerName     string `json:",omitempty"` // the container's name, for those who read rules

	// Sources are the networks that others may connect from; the host itself always may.
	Sources sources.Set `json:",omitempty"`
}

// Direct tells whether the port is the container's own: clients connect to that, and nothing is translated.
func (b Binding) Direct() bool { return b.HostIP == b.ContainerIP }

// IsAddress tells whether all protocols and ports of the host's address are led to the container.
func (b Binding) IsAddress() bool { return b.Protocol == All }

// IsRange tells whether several ports are led to those of the same numbers.
func (b Binding) IsRange() bool { return b.HostPortEnd != 0 }

// LastPort is the last host port.
func (b Binding) LastPort() uint16 { return max(b.HostPort, b.HostPortEnd) }

// Subject is how messages name what is published.
func (b Binding) Subject() string {
	switch {
	case b.IsAddress():
		return "address " + b.HostIP.String()
	case b.IsRange():
		return fmt.Sprintf("ports %s-%d/%s", b.Host(), b.HostPortEnd, b.Protocol)
	}
	return Subject(b.HostIP, b.HostPort, b.Protocol)
}

// Host is the address that clients connect to.
func (b Binding) Host() netip.AddrPort { return netip.AddrPortFrom(b.HostIP, b.HostPort) }

// Target is where connections are led.
func (b Binding) Target() netip.AddrPort { return netip.AddrPortFrom(b.ContainerIP, b.ContainerPort) }

// Publication is all that one owner has published.
type Publication struct {
	Owner     string // the UID of the container
	OwnerName string // for messages
	IPv4      netip.Addr
	IPv6      netip.Addr
	Routed4   bool      `json:",omitempty"` // the address's network is not translated
	Routed6   bool      `json:",omitempty"`
	Mappings  []Mapping // as asked for
	Addresses []Address `json:",omitempty"` // as asked for
	Bindings  []Binding // as given, sorted
}

// Same tells whether two publications ask for the same, whatever ports they got and whatever the container is called.
func (p *Publication) Same(q *Publication) bool {
	return p.IPv4 == q.IPv4 && p.IPv6 == q.IPv6 && slices.Equal(p.Mappings, q.Mappings) && slices.Equal(p.Addresses, q.Addresses)
}

// AnyFamily returns the bindings on all IPv4 addresses whose mappings name no host address. It returns none if the container has an
// IPv6 address, as these mappings then have bindings of their own for IPv6, or the network's mode excludes them.
func (p *Publication) AnyFamily() []Binding {
	if p.IPv6.IsValid() {
		return nil
	}

	var found []Binding
	for _, b := range p.Bindings {
		if b.HostIP == netip.IPv4Unspecified() && slices.ContainsFunc(p.Mappings, func(m Mapping) bool { return m.HostIP == "" && m.covers(b) }) {
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

// Overlap tells whether two host addresses cannot both have the same port: they are equal, or one means the whole family.
func Overlap(a, b netip.Addr) bool {
	return a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}

// Subject is how messages name a host port: `port 0.0.0.0:8080/tcp`.
func Subject(ip netip.Addr, port uint16, proto Protocol) string {
	return fmt.Sprintf("port %s/%s", netip.AddrPortFrom(ip, port), proto)
}
