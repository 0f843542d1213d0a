package egress

import (
	"net/netip"
	"slices"
	"strings"
)

// Target is the subject of a decision: the destination of an outgoing connection after DNAT, or the source
// of an incoming one.
type Target struct {
	Addr     netip.Addr
	Protocol Protocol // empty for protocols without a rule of their own
	Port     uint16   // of the destination; 0 for protocols without ports
	Host     bool     // an address of the host itself
	// Has reports whether the address belongs to the domain, container, network or label of a rule.
	Has func(r Rule) bool
}

// Reasons of a refusal.
const (
	ReasonPolicy   = "policy"   // no rule allows it
	ReasonRule     = "rule"     // a rule with "!"
	ReasonDNS      = "dns"      // another name server than the embedded one
	ReasonMetadata = "metadata" // a metadata service of a cloud
	ReasonQUIC     = "quic"     // the name in it is encrypted

	ReasonConnections = "connections" // above the limit; Decide does not return it
)

// Decision is the result for a target.
type Decision struct {
	Allowed bool
	Rule    string // the rule that decided; empty if none did
	Reason  string // of a refusal
}

// ChecksQUIC reports whether a rule decided whose names are checked in QUIC.
func (d Decision) ChecksQUIC() bool { return d.Allowed && strings.HasSuffix(d.Rule, "/"+string(QUIC)) }

// DNSPorts returns the ports of name servers.
func DNSPorts() []uint16 { return []uint16{53, 853} }

// Decide returns whether traffic passes, as the rules in the kernel do.
func (p Policy) Decide(t Target) Decision {
	if p == nil {
		return Decision{Allowed: true}
	}
	if r, ok := p.first(t, func(r Rule) bool { return r.Deny }); ok {
		return Decision{Rule: r, Reason: ReasonRule}
	}
	isMetadata := contains(MetadataAddresses(), t.Addr)
	if r, ok := p.first(t, func(r Rule) bool { return !r.Deny && r.Kind == Metadata }); ok {
		return Decision{Allowed: true, Rule: r}
	}
	if isMetadata && p.Restricts() && !p.OpensMetadata() {
		return Decision{Reason: ReasonMetadata}
	}
	if p.HasDomains() && t.isDNS() {
		return Decision{Reason: ReasonDNS}
	}

	if r, ok := p.first(t, func(r Rule) bool { return !r.Deny && !(t.isQUIC() && r.RefusesQUIC()) }); ok {
		return Decision{Allowed: true, Rule: r}
	}
	if _, ok := p.first(t, func(r Rule) bool { return t.isQUIC() && r.RefusesQUIC() }); ok {
		return Decision{Reason: ReasonQUIC}
	}
	if !p.Restricts() {
		return Decision{Allowed: true}
	}
	return Decision{Reason: ReasonPolicy}
}

// first returns the first selected rule that matches a target.
func (p Policy) first(t Target, selected func(Rule) bool) (string, bool) {
	at := slices.IndexFunc(p, func(r Rule) bool { return selected(r) && r.Ports.has(t) && r.HasAddress(t) })
	if at < 0 {
		return "", false
	}
	return p[at].String(), true
}

// Continues reports whether next allows a connection that p has allowed for one of its names, whichever it was. The
// names of an address are forgotten some time after its TTL, and connections last longer.
func (p Policy) Continues(next Policy, t Target) bool {
	was, denied := p.names(t, false), p.names(t, true)
	covered := func(r Rule, by Policy) bool {
		return slices.ContainsFunc(by, func(b Rule) bool {
			return b.matches(r.Name) && (r.ChecksQUIC() || !b.ChecksQUIC())
		})
	}
	still, now := next.names(t, false), next.names(t, true)
	return len(was) > 0 && !slices.ContainsFunc(was, func(r Rule) bool { return !covered(r, still) }) &&
		!slices.ContainsFunc(now, func(r Rule) bool { return !covered(r, denied) })
}

// names returns the domain rules that deny a target, or those that allow it, if its address has one of their names.
func (p Policy) names(t Target, deny bool) (rules Policy) {
	for _, r := range p {
		if r.Kind == Domain && r.Deny == deny && r.Ports.has(t) && !(t.isQUIC() && r.RefusesQUIC()) {
			rules = append(rules, r)
		}
	}
	return rules
}

// AllowsUncheckedQUIC reports whether a domain rule allows QUIC to a target without a check of names, if the address
// has one of its names.
func (p Policy) AllowsUncheckedQUIC(t Target) bool {
	return slices.ContainsFunc(p.names(t, false), func(r Rule) bool { return !r.ChecksQUIC() })
}

// OpensMetadata reports whether metadata services are not denied by themselves.
func (p Policy) OpensMetadata() bool {
	return slices.ContainsFunc(p, func(r Rule) bool { return !r.Deny && r.Kind == All })
}

func (t Target) isDNS() bool {
	return (t.Protocol == TCP || t.Protocol == UDP) && slices.Contains(DNSPorts(), t.Port)
}

// isQUIC reports whether a target is a server of QUIC whose names are checked.
func (t Target) isQUIC() bool {
	return t.Protocol == UDP && t.Port == PortTLS && !contains(PrivateRanges(), t.Addr)
}

// has reports whether a target has the protocol and one of the ports.
func (p Ports) has(t Target) bool {
	switch {
	case p.First != 0 && (t.Port < p.First || t.Port > p.Last):
		return false
	case p.Protocol == QUIC:
		return t.Protocol == UDP
	case p.Protocol != "":
		return p.Protocol == t.Protocol
	}
	return p.First == 0 || t.Protocol == TCP || t.Protocol == UDP
}

// HasAddress reports whether the rule applies to the address of a target, on some port.
func (r Rule) HasAddress(t Target) bool {
	switch r.Kind {
	case All, Observe:
		return true
	case Host:
		return t.Host
	case Metadata:
		return contains(MetadataAddresses(), t.Addr)
	case LAN:
		return !t.Host && contains(PrivateRanges(), t.Addr)
	case Internet:
		return !t.Host && IsPublic(t.Addr)
	case Prefix:
		return r.Prefix.Contains(t.Addr)
	case Domain, Container, Label:
		return t.Has != nil && t.Has(r)
	case Network: // its gateway is the host
		return !t.Host && t.Has != nil && t.Has(r)
	}
	return false
}
