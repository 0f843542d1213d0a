package egress

import (
	"errors"
	"net/netip"
	"slices"
)

// AnyName ends a rule whose connections are not checked for the name that the client asks for.
const AnyName = "/any-name"

// Ports on which the name that a client asks for is checked: of TLS, and of HTTP.
const (
	PortTLS  = 443
	PortHTTP = 80
)

// checkAnyName rejects AnyName where no name is checked.
func (r Rule) checkAnyName() error {
	if r.AnyName && (r.Kind != Domain || r.Deny) {
		return errors.New("any-name is for domain names that are allowed")
	}
	return nil
}

// ChecksServer reports whether connections that the rule allows to a TCP port are checked for the name that
// the client asks for.
func (r Rule) ChecksServer(port uint16) bool {
	return r.Kind == Domain && !r.Deny && !r.AnyName && (port == PortTLS || port == PortHTTP) &&
		r.Ports.has(Target{Protocol: TCP, Port: port})
}

// RefusesQUIC reports whether the rule does not allow QUIC, in which the name is encrypted. A rule for UDP
// allows it.
func (r Rule) RefusesQUIC() bool {
	return r.Kind == Domain && !r.Deny && !r.AnyName && r.Ports.Protocol == "" &&
		r.Ports.has(Target{Protocol: UDP, Port: PortTLS})
}

// ChecksServers reports whether a rule checks the names that clients ask for.
func (p Policy) ChecksServers() bool {
	return slices.ContainsFunc(p, func(r Rule) bool { return r.ChecksServer(PortTLS) || r.ChecksServer(PortHTTP) })
}

// AllowsServer reports whether a client may ask a server for a name, on an address that was learned for a
// name. An address in place of a name must be the server's own, and only HTTP has one.
func (p Policy) AllowsServer(name string, server netip.AddrPort) bool {
	if addr, err := netip.ParseAddr(name); err == nil {
		return server.Port() == PortHTTP && addr.Unmap() == server.Addr().Unmap()
	}
	target, allowed := Target{Protocol: TCP, Port: server.Port()}, false
	for _, r := range p.RulesFor(name) {
		if !r.Ports.has(target) {
			continue
		}
		if r.Deny {
			return false
		}
		allowed = true
	}
	return allowed
}
