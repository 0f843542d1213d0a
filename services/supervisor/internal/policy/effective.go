package policy

import (
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
)

// Source is an origin of rules.
type Source struct {
	Name string // "options", "policy NAME", "network NAME" or "configuration"
	Rules
}

// Names of sources.
const (
	FromOptions       = "options" // --egress and --ingress
	FromConfiguration = "configuration"
	fromPolicy        = "policy "
	fromNetwork       = "network "
)

// Sources returns where the rules of a container come from. Its own rules and those of all policies that
// select it apply together. If none of them has rules for outgoing traffic, those of its networks apply;
// if these have none either, the default.
func Sources(m Member, all []*Policy, standard []string) (sources []Source) {
	if !m.Own.IsEmpty() {
		sources = append(sources, Source{FromOptions, m.Own})
	}
	hasEgress := len(m.Own.Egress) > 0
	for _, p := range all {
		if p.Selector.Selects(m) {
			sources = append(sources, Source{fromPolicy + p.Name, Rules{Egress: p.Egress, Ingress: p.Ingress}})
			hasEgress = hasEgress || len(p.Egress) > 0
		}
	}
	if hasEgress {
		return sources
	}

	for _, e := range m.Endpoints {
		if len(e.Egress) > 0 {
			sources = append(sources, Source{fromNetwork + e.NetworkName, Rules{Egress: e.Egress}})
			hasEgress = true
		}
	}
	if _, joined := m.Mode.Joined(); !hasEgress && len(standard) > 0 && !joined {
		sources = append(sources, Source{FromConfiguration, Rules{Egress: standard}})
	}
	return sources
}

// Merge returns the rules of all sources together, each once. "none" adds nothing to other rules.
func Merge(sources []Source) (r Rules) {
	for _, s := range sources {
		r.Egress, r.Ingress = append(r.Egress, s.Egress...), append(r.Ingress, s.Ingress...)
		r.Limits = r.Limits.Or(s.Limits) // only a container's own rules have limits
	}
	return Rules{Egress: merged(r.Egress), Ingress: merged(r.Ingress), Limits: r.Limits.InForce()}
}

func merged(rules []string) (out []string) {
	if len(rules) == 0 {
		return nil
	}
	for _, r := range rules {
		if r != egress.Empty && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return []string{egress.Empty}
	}
	return out
}
