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

// checkServer rejects AnyName and QUIC where no name is checked.
func (r Rule) checkServer() error {
	named := r.Kind == Domain && !r.Deny
	switch {
	case r.AnyName && !named:
		return errors.New("any-name is for domain names that are allowed")
	case r.Ports.Protocol == QUIC && !named:
		return errors.New("quic is for domain names that are allowed, use udp")
	case r.Ports.Protocol == QUIC && r.AnyName:
		return errors.New("the names of quic are checked, use udp without any-name")
	}
	return nil
}

// ChecksServer reports whether connections that the rule allows to a TCP port are checked for the name that
// the client asks for.
func (r Rule) ChecksServer(port uint16) bool {
	return r.Kind == Domain && !r.Deny && !r.AnyName && (port == PortTLS || port == PortHTTP) &&
		r.Ports.has(Target{Protocol: TCP, Port: port})
}

// ChecksQUIC reports whether the rule allows QUIC to servers whose name it allows.
func (r Rule) ChecksQUIC() bool { return r.Kind == Domain && !r.Deny && r.Ports.Protocol == QUIC }

// RefusesQUIC reports whether the rule does not allow QUIC, in which the name is encrypted. A rule for UDP or
// QUIC allows it.
func (r Rule) RefusesQUIC() bool {
	return r.Kind == Domain && !r.Deny && !r.AnyName && r.Ports.Protocol == "" &&
		r.Ports.has(Target{Protocol: UDP, Port: PortTLS})
}

// ChecksServers reports whether a rule checks the names that clients ask for.
func (p Policy) ChecksServers() bool {
	return slices.ContainsFunc(p, func(r Rule) bool {
		return r.ChecksServer(PortTLS) || r.ChecksServer(PortHTTP) || r.ChecksQUIC()
	})
}

// AllowsServer reports whether a client may ask a server for a name, on an address that was learned for a
// name. An address in place of a name must be the server's own, and only HTTP has one.
func (p Policy) AllowsServer(name string, server netip.AddrPort) bool {
	if addr, err := netip.ParseAddr(name); err == nil {
		return server.Port() == PortHTTP && addr.Unmap() == server.Addr().Unmap()
	}
	return p.allowsName(name, Target{Protocol: TCP, Port: server.Port()}, func(Rule) bool { return true })
}

// AllowsQUIC reports whether a client may ask a server for a name over QUIC, as AllowsServer does.
func (p Policy) AllowsQUIC(name string, server netip.AddrPort) bool {
	return p.allowsName(name, Target{Protocol: UDP, Port: server.Port()}, func(r Rule) bool { return !r.RefusesQUIC() })
}

// allowsName reports whether rules for a name allow a target, and none denies it.
func (p Policy) allowsName(name string, target Target, allows func(Rule) bool) (allowed bool) {
	for _, r := range p.RulesFor(name) {
		switch {
		case !r.Ports.has(target):
		case r.Deny:
			return false
		case allows(r):
			allowed = true
		}
	}
	return allowed
}
