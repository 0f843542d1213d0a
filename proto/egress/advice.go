package egress

import (
	"fmt"
	"net/netip"
	"slices"
)

// Advice returns warnings about rules that probably do not mean what their user wants, one line each: rules
// that contradict each other, that add nothing, or that allow what is refused for another reason. It returns
// none for rules that restrict nothing else.
func (p Policy) Advice() (warnings []string) {
	if len(p) > 0 && !slices.ContainsFunc(p, func(r Rule) bool { return !r.Deny }) {
		return []string{"the rules only deny, and what no rule allows is refused too; add what is allowed, such as all"}
	}
	for i, r := range p {
		if text := p.adviceFor(i, r); text != "" {
			warnings = append(warnings, fmt.Sprintf("rule %s %s", r, text))
		}
	}
	return warnings
}

// adviceFor returns what is wrong with one rule, empty if nothing is.
func (p Policy) adviceFor(at int, r Rule) string {
	if r.isLoopback() {
		return "has no effect, a container always reaches itself; use host for the host"
	}
	if r.Deny {
		if at := slices.IndexFunc(p[:at], func(o Rule) bool { return o.Deny && o.includes(r) }); at >= 0 {
			return fmt.Sprintf("adds nothing to %s", p[at])
		}
		return ""
	}

	switch {
	case r.isMetadata() && !p.OpensMetadata():
		return "allows nothing, metadata services need a rule: metadata"
	case p.HasDomains() && r.isNameServer():
		return "allows nothing, with names in the rules a container can use only the embedded name server; set its " +
			"servers with --dns"
	}
	if at := slices.IndexFunc(p, func(o Rule) bool { return o.Deny && o.includes(r) }); at >= 0 {
		return fmt.Sprintf("allows nothing, %s denies all of it", p[at])
	}
	for j, o := range p {
		if j != at && !o.Deny && o.includes(r) && (j < at || !r.includes(o)) {
			return fmt.Sprintf("adds nothing to %s", o)
		}
	}
	return ""
}

// isLoopback reports whether the rule names addresses of the container itself only.
func (r Rule) isLoopback() bool {
	return r.Kind == Prefix && within(prefixes("127.0.0.0/8", "::1/128"), r.Prefix)
}

// isMetadata reports whether the rule names only addresses of metadata services, by address.
func (r Rule) isMetadata() bool { return r.Kind == Prefix && within(MetadataAddresses(), r.Prefix) }

// isNameServer reports whether the rule allows only ports of name servers.
func (r Rule) isNameServer() bool {
	return r.Ports.First != 0 && r.Ports.First == r.Ports.Last && slices.Contains(DNSPorts(), r.Ports.First) &&
		r.Ports.Protocol != SCTP
}

// includes reports whether all traffic of another rule is also traffic of r, whatever the addresses of names,
// containers and networks are. Both are read as rules without "!".
func (r Rule) includes(o Rule) bool {
	if !r.Ports.include(o.Ports) {
		return false
	}
	switch r.Kind {
	case All:
		return o.Kind != Observe && o.Kind != DNS
	case Observe:
		return o.Kind != All && o.Kind != Metadata && o.Kind != DNS
	case Prefix:
		return o.Kind == Prefix && within([]netip.Prefix{r.Prefix}, o.Prefix)
	case Domain:
		return o.Kind == Domain && r.checksLike(o) && (r.Name == o.Name || r.matches(o.Name))
	case Container, Network, Label:
		return o.Kind == r.Kind && o.Name == r.Name
	}
	return r.Kind == o.Kind
}

// checksLike reports whether a rule for names checks no more of them than another one.
func (r Rule) checksLike(o Rule) bool {
	return r.Deny || (r.AnyName || !o.AnyName) && !(r.RefusesQUIC() && !o.RefusesQUIC())
}

// include reports whether ports include others.
func (p Ports) include(o Ports) bool {
	switch {
	case p == Ports{} || p == o:
		return true
	case p.First != 0 && (o.First < p.First || o.Last > p.Last):
		return false
	case p.Protocol == o.Protocol:
		return true
	}
	return p.Protocol == "" && (o.Protocol == TCP || o.Protocol == UDP)
}

// within reports whether a range is part of one of several ranges.
func within(ranges []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(ranges,
		func(r netip.Prefix) bool { return r.Bits() <= p.Bits() && r.Contains(p.Addr()) })
}
