// Package publication resolves the port mappings and published addresses of a container to requests
// for host ports, and holds the resulting bindings.
//
// It performs no I/O. Ports are allocated by package publish, which is also its main caller.
package publication

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
)

// Publication holds all bindings of an owner.
type Publication struct {
	Owner     string // the container ID
	OwnerName string // the container's name, for messages
	IPv4      netip.Addr
	IPv6      netip.Addr
	Routed4   bool           `json:",omitempty"` // the network of the IPv4 address is routed
	Routed6   bool           `json:",omitempty"`
	Mappings  []port.Mapping // as requested
	Addresses []port.Address `json:",omitempty"` // as requested
	Bindings  []port.Binding // in effect, sorted
}

// Same reports whether p and q request the same. Bindings and the owner's name are ignored.
func (p *Publication) Same(q *Publication) bool {
	return p.IPv4 == q.IPv4 && p.IPv6 == q.IPv6 && slices.Equal(p.Mappings, q.Mappings) &&
		slices.Equal(p.Addresses, q.Addresses)
}

// AnyFamily returns the bindings on all IPv4 addresses whose mappings name no host address.
// It returns none if the container has an IPv6 address: such mappings then have IPv6 bindings of
// their own, or the gateway mode excludes them.
func (p *Publication) AnyFamily() []port.Binding {
	if p.IPv6.IsValid() {
		return nil
	}

	var found []port.Binding
	for _, b := range p.Bindings {
		if b.HostIP == netip.IPv4Unspecified() && slices.ContainsFunc(p.Mappings,
			func(m port.Mapping) bool { return !m.HostIP.IsValid() && covers(m, b) }) {
			found = append(found, b)
		}
	}

	return found
}

// covers reports whether b can result from m at some host address.
func covers(m port.Mapping, b port.Binding) bool {
	return m.Protocol == b.Protocol && m.Container.Contains(port.Single(b.Container.First)) &&
		(m.Host.IsZero() || m.Host.Contains(port.Single(b.Host.First)))
}

// invalid returns the fault for a mapping.
func invalid(m port.Mapping, format string, args ...any) error {
	return fault.Invalidf("publish "+m.String(), "publish", format, args...)
}
