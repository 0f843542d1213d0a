package port

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Binding is a port binding in effect: a host port that is forwarded to a container port, a range
// that is forwarded to the same ports of the container, or a published address. With Direct, it
// allows connections to ports of the container's own address instead.
type Binding struct {
	Protocol    Protocol
	HostIP      netip.Addr `json:",omitzero"` // unspecified: all addresses of the family
	Host        Range      `json:",omitzero"` // zero for a published address
	ContainerIP netip.Addr `json:",omitzero"`
	Container   Range      `json:",omitzero"`  // zero for a published address
	SNAT        bool       `json:",omitempty"` // HostIP is the source of egress; published addresses only
	OwnerName   string     `json:",omitempty"` // the container's name in natagent's firewall rules

	// Sources are the allowed sources. The host itself can always connect.
	Sources Sources `json:",omitempty"`
}

// Direct reports whether clients connect to the container's own address, without translation.
func (b Binding) Direct() bool { return b.HostIP.IsValid() && b.HostIP == b.ContainerIP }

// IsAddress reports whether b is a published address.
func (b Binding) IsAddress() bool { return b.Protocol == All }

// IsRange reports whether b is a range of several ports.
func (b Binding) IsRange() bool { return b.Host.First != b.Host.Last }

// Subject returns the name of the binding in messages.
func (b Binding) Subject() string {
	switch {
	case b.IsAddress():
		return "address " + b.HostIP.String()
	case b.IsRange():
		return fmt.Sprintf("ports %s-%d/%s", b.HostPort(), b.Host.Last, b.Protocol)
	}
	return Subject(b.HostIP, b.Host.First, b.Protocol)
}

// HostPort returns the address and the first port that clients connect to.
func (b Binding) HostPort() netip.AddrPort { return netip.AddrPortFrom(b.HostIP, b.Host.First) }

// Target returns the container address and the first container port.
func (b Binding) Target() netip.AddrPort { return netip.AddrPortFrom(b.ContainerIP, b.Container.First) }

// Sort orders bindings by container port, protocol and host address.
func Sort(bindings []Binding) {
	slices.SortFunc(bindings, func(a, b Binding) int {
		return cmp.Or(
			cmp.Compare(a.Container.First, b.Container.First),
			cmp.Compare(a.Protocol, b.Protocol),
			a.HostIP.Compare(b.HostIP),
			cmp.Compare(a.Host.First, b.Host.First))
	})
}

// Overlap reports whether a and b cannot bind the same port. They cannot if they are equal or one
// is the unspecified address of the other's family.
func Overlap(a, b netip.Addr) bool {
	return a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}

// Subject returns the name of a host port in messages: `port 0.0.0.0:8080/tcp`.
func Subject(ip netip.Addr, number uint16, proto Protocol) string {
	return fmt.Sprintf("port %s/%s", netip.AddrPortFrom(ip, number), proto)
}
