package policy

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/egress"
)

// Decision is the decision about a connection, with the source of the rule.
type Decision struct {
	egress.Decision
	Source string
	// Target is the address, protocol and port of the decision, if the peer has others.
	Target string
}

// Outcome holds the decisions about a peer: the first that allows, and the first that refuses. Both exist if
// only some of the addresses, protocols and ports of the peer are allowed.
type Outcome struct{ Allowed, Refused *Decision }

// Against returns the decision that contradicts an assertion, or any decision if none does.
func (o Outcome) Against(allowed bool) Decision {
	for _, d := range []*Decision{o.Allowed, o.Refused} {
		if d != nil && d.Allowed != allowed {
			return *d
		}
	}
	return o.All()[0]
}

// All returns the decisions: one, or two that differ.
func (o Outcome) All() (all []Decision) {
	for _, d := range []*Decision{o.Allowed, o.Refused} {
		if d != nil {
			all = append(all, *d)
		}
	}
	return all
}

// Decide returns the decisions of sources about a test, for all addresses, protocols and ports that its
// peer names. A name stands for a public address that the container has resolved. That QUIC is refused matters
// only for a peer with a protocol.
func Decide(sources []Source, t Test, members []Member) (Outcome, error) {
	peer, err := t.peer()
	if err != nil {
		return Outcome{}, err
	}
	rules := Merge(sources)
	parse, list := egress.Parse, rules.Egress
	if t.Incoming {
		parse, list = egress.ParseIngress, rules.Ingress
	}
	p, err := parse(list)
	if err != nil {
		return Outcome{}, err
	}

	all, err := targets(p, peer, members)
	if err != nil {
		return Outcome{}, err
	}

	var o Outcome
	for _, one := range all {
		d := Decision{Decision: p.Decide(one.Target), Target: one.text}
		if peer.Kind == egress.Domain && d.Allowed && !p.AllowsName(peer.Name) {
			d.Decision = egress.Decision{Reason: ReasonName}
		}
		if d.Reason == egress.ReasonQUIC && peer.Ports.Protocol == "" {
			continue // clients use TLS then
		}
		kept := &o.Refused
		if d.Allowed {
			kept = &o.Allowed
		}
		if *kept == nil {
			d.Source = SourceOf(sources, d.Rule, t.Incoming)
			*kept = &d
		}
	}
	return o.plain(), nil
}

// plain removes the targets of a decision that applies to the whole peer.
func (o Outcome) plain() Outcome {
	if o.Allowed != nil && o.Refused != nil {
		return o
	}
	for _, d := range []*Decision{o.Allowed, o.Refused} {
		if d != nil {
			d.Target = ""
		}
	}
	return o
}

// SourceOf returns the name of the first source that has a rule, empty if none has.
func SourceOf(sources []Source, rule string, incoming bool) string {
	for _, s := range sources {
		list := s.Egress
		if incoming {
			list = s.Ingress
		}
		if rule != "" && slices.ContainsFunc(list, func(text string) bool { return hasRule(text, rule) }) {
			return s.Name
		}
	}
	return ""
}

// hasRule reports whether a value has a rule. Values are lists with commas, in any spelling.
func hasRule(value, rule string) bool {
	for _, one := range strings.Split(value, ",") {
		p, err := egress.Parse([]string{one})
		if err == nil && len(p) == 1 && p[0].String() == rule {
			return true
		}
	}
	return false
}

// ReasonName is the reason of a refusal of a name.
const ReasonName = "name"
