package plan

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
)

// Group is the rules of one kind with the same ports. The addresses of a group are in sets, so that a
// chain has few rules, however many addresses there are.
type Group struct {
	Deny     bool
	Kind     egress.Kind // Prefix also stands for Domain, Container for all rules with peers
	Ports    egress.Ports
	Prefixes []netip.Prefix // sorted, none within another
	Domains  bool           // it has a set of learned addresses
	AnyName  bool           // names of servers are not checked
	Peers    []string       // containers, networks and labels, which have sets of their own
	Text     string         // the rules as they are written, for comments
}

// groupsOf returns the groups of a policy: those that deny first.
func groupsOf(p egress.Policy) (groups []Group) {
	for _, r := range p {
		kind := r.Kind
		switch {
		case kind == egress.Domain:
			kind = egress.Prefix
		case r.IsPeer():
			kind = egress.Container
		}
		if kind == egress.DNS {
			continue
		}

		at := slices.IndexFunc(groups, func(g Group) bool {
			return g.Deny == r.Deny && g.Kind == kind && g.Ports == r.Ports && g.AnyName == r.AnyName
		})
		if at < 0 {
			at = len(groups)
			groups = append(groups, Group{Deny: r.Deny, Kind: kind, Ports: r.Ports, AnyName: r.AnyName})
		}
		groups[at].add(r)
	}

	slices.SortStableFunc(groups, func(a, b Group) int { return a.order() - b.order() })
	for i := range groups {
		groups[i].Prefixes = prefixes.Merge(groups[i].Prefixes)
	}

	return groups
}

// order returns the position of a group: what is denied, metadata that is allowed, what is allowed.
func (g Group) order() int {
	switch {
	case g.Deny:
		return 0
	case g.First():
		return 1
	}
	return 2
}

// First reports whether the rules of the group precede the refusal of metadata services and name servers.
func (g Group) First() bool { return g.Deny || g.Kind == egress.Metadata }

// Turn returns the position of a group with names, from 0 to 2: what allows more comes first.
func (g Group) Turn() int {
	switch {
	case g.AnyName:
		return 0
	case g.Rule().RefusesQUIC():
		return 2
	}
	return 1
}

func (g *Group) add(r egress.Rule) {
	switch r.Kind {
	case egress.Domain:
		g.Domains = true
	case egress.Prefix:
		g.Prefixes = append(g.Prefixes, r.Prefix)
	case egress.Container, egress.Network, egress.Label:
		g.Peers = append(g.Peers, r.Peer())
	}
	if g.Text != "" {
		g.Text += ","
	}
	g.Text += r.String()
}

// Rule returns the domain rule that the group stands for.
func (g Group) Rule() egress.Rule {
	return egress.Rule{Kind: egress.Domain, Deny: g.Deny, Ports: g.Ports, AnyName: g.AnyName}
}

// DomainText returns the rules of the group without whether names of servers are checked.
func (g Group) DomainText() string { return strings.ReplaceAll(g.Text, egress.AnyName, "") }
