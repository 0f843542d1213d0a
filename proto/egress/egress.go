// Package egress holds the rules for traffic of a container: which domains, addresses and ports it may
// reach, and what may reach it. It parses `--egress` and `--ingress`, and decides for single names and
// addresses.
//
// It performs no I/O and knows no firewall. ctl and the supervisor validate with it, natagent derives
// rules of the firewall from it, and dnsagent decides with it which names are answered.
package egress

import (
	"net/netip"
	"slices"
	"strings"
)

// Kind selects the peers of a rule.
type Kind int

// The kinds.
const (
	Domain    Kind = iota + 1 // a name, or all names below a suffix
	Prefix                    // an address or a range of addresses
	Host                      // the host itself, on all of its addresses
	Internet                  // all addresses outside private and special ranges
	LAN                       // private and link-local ranges, except the metadata services
	Metadata                  // metadata services of clouds
	DNS                       // nothing but all names: the embedded name server answers every question
	All                       // everything
	Observe                   // everything, and new connections are recorded
	Container                 // a container, by name or ID
	Network                   // the subnets of a network, except the host
	Label                     // all containers with a label
)

// word is a rule that is one word.
type word struct {
	text string
	kind Kind
}

// words returns the rules that are one word. Policies are parsed often: an array needs no memory, a map does.
func words() [7]word {
	return [...]word{{"host", Host}, {"internet", Internet}, {"lan", LAN}, {"metadata", Metadata}, {"dns", DNS},
		{"all", All}, {"observe", Observe}}
}

// wordKind returns the kind of a rule that is one word.
func wordKind(text string) (Kind, bool) {
	for _, w := range words() {
		if w.text == text {
			return w.kind, true
		}
	}
	return 0, false
}

// Empty is the policy without any rule: nothing can be reached but the embedded name server.
const Empty = "none"

// Ports is a range of ports of one protocol, or a protocol without ports.
type Ports struct {
	Protocol    Protocol
	First, Last uint16 // 0, 0: all
}

// Protocol is an IP protocol. The zero value stands for all, or with ports for TCP and UDP.
type Protocol string

// The protocols.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
	ICMP Protocol = "icmp" // and ICMPv6
	QUIC Protocol = "quic" // UDP on port 443, whose names are checked
)

// Rule allows or denies traffic to one peer.
type Rule struct {
	Deny   bool
	Kind   Kind
	Name   string       // "a.test" or "*.a.test" in lower case, a container, a network, "key" or "key=value"
	Prefix netip.Prefix // of kind Prefix, masked
	Ports  Ports
	// AnyName is for kind Domain: what else the addresses of the name serve is allowed too.
	AnyName bool
}

// Policy is the list of rules of a container. Traffic passes if a rule allows it and none denies it.
// A nil policy lets everything pass.
type Policy []Rule

// Restricts reports whether anything can be denied. It is false without a policy and for "all". Metadata
// services are denied with "observe".
func (p Policy) Restricts() bool {
	if p == nil {
		return false
	}
	return p.denies() || !slices.ContainsFunc(p, func(r Rule) bool { return r.isEverything() })
}

// Observes reports whether new connections are recorded.
func (p Policy) Observes() bool {
	return slices.ContainsFunc(p, func(r Rule) bool { return r.Kind == Observe })
}

func (r Rule) isEverything() bool { return r.Kind == All && r.Ports == Ports{} }

func (p Policy) denies() bool { return slices.ContainsFunc(p, func(r Rule) bool { return r.Deny }) }

// HasDomains reports whether a rule has a domain. The container may then use no other name server
// than the embedded one, because a domain is enforced by what that one answered.
func (p Policy) HasDomains() bool {
	return slices.ContainsFunc(p, func(r Rule) bool { return r.Kind == Domain })
}

// AllowsName reports whether the embedded name server forwards questions about a name. Questions
// can transport data, so that rules with addresses alone open no names.
func (p Policy) AllowsName(name string) bool {
	if p == nil {
		return true
	}
	name = canonical(name)
	open := false
	for _, r := range p {
		if r.Kind == Domain && r.Deny && r.Ports == (Ports{}) && r.matches(name) {
			return false
		}
		open = open || !r.Deny && (r.Kind == Domain && r.matches(name) || r.opensNames())
	}
	return open
}

// opensNames reports whether the rule opens all names.
func (r Rule) opensNames() bool {
	switch r.Kind {
	case DNS, Internet, LAN, All, Observe:
		return true
	}
	return false
}

// RulesFor returns the domain rules that a name matches, in order. Only their ports are opened, or
// closed, for the addresses of the name.
func (p Policy) RulesFor(name string) (matching Policy) {
	name = canonical(name)
	for _, r := range p {
		if r.Kind == Domain && r.matches(name) {
			matching = append(matching, r)
		}
	}
	return matching
}

// matches reports whether a canonical name is the rule's, or below its suffix.
func (r Rule) matches(name string) bool {
	if suffix, wildcard := strings.CutPrefix(r.Name, "*"); wildcard {
		return len(name) > len(suffix) && strings.HasSuffix(name, suffix)
	}
	return name == r.Name
}

// canonical returns a name in lower case without the final dot.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// String returns the rule as it is written.
func (r Rule) String() string {
	text := r.peer() + r.Ports.suffix()
	if r.AnyName {
		text += AnyName
	}
	if r.Deny {
		return "!" + text
	}
	return text
}

func (r Rule) peer() string {
	switch r.Kind {
	case Domain:
		if needsDot(r.Name) {
			return r.Name + "."
		}
		return r.Name
	case Prefix:
		return r.prefix()
	}
	for word, kind := range peerKinds() {
		if kind == r.Kind {
			return word + ":" + r.Name
		}
	}
	for _, w := range words() {
		if w.kind == r.Kind {
			return w.text
		}
	}
	return ""
}

func (r Rule) prefix() string {
	text := r.Prefix.String()
	if r.Prefix.IsSingleIP() {
		text = r.Prefix.Addr().String()
	}
	if r.Prefix.Addr().Is6() {
		return "[" + text + "]"
	}
	return text
}

// Strings returns the rules as they are written: one element per rule, or Empty for none. It is nil
// for a nil policy.
func (p Policy) Strings() []string {
	if p == nil {
		return nil
	}
	if len(p) == 0 {
		return []string{Empty}
	}
	var all []string
	for _, r := range p {
		all = append(all, r.String())
	}
	return all
}
