package egress

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
)

// group is the rules of one kind with the same ports. The addresses of a group are in sets, so that a
// chain has few rules, however many addresses there are.
type group struct {
	deny     bool
	kind     egress.Kind // Prefix also stands for Domain, Container for all rules with peers
	ports    egress.Ports
	prefixes []netip.Prefix // sorted, none within another
	domains  bool           // it has a set of learned addresses
	anyName  bool           // names of servers are not checked
	peers    []string       // containers, networks and labels, which have sets of their own
	text     string         // the rules as they are written, for comments
}

// plan returns the groups of a policy: those that deny first.
func plan(p egress.Policy) (groups []group) {
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

		at := slices.IndexFunc(groups, func(g group) bool {
			return g.deny == r.Deny && g.kind == kind && g.ports == r.Ports && g.anyName == r.AnyName
		})
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{deny: r.Deny, kind: kind, ports: r.Ports, anyName: r.AnyName})
		}
		groups[at].add(r)
	}

	slices.SortStableFunc(groups, func(a, b group) int { return order(a) - order(b) })
	for i := range groups {
		groups[i].prefixes = prefixes.Merge(groups[i].prefixes)
	}

	return groups
}

// order returns the position of a group: metadata that is allowed, what is denied, what is allowed.
func order(g group) int {
	switch {
	case g.deny:
		return 1
	case g.kind == egress.Metadata:
		return 0
	}
	return 2
}

// turn returns the position of a group with names, from 0 to 2: what allows more comes first.
func (g group) turn() int {
	switch {
	case g.anyName:
		return 0
	case g.rule().RefusesQUIC():
		return 2
	}
	return 1
}

func (g *group) add(r egress.Rule) {
	switch r.Kind {
	case egress.Domain:
		g.domains = true
	case egress.Prefix:
		g.prefixes = append(g.prefixes, r.Prefix)
	case egress.Container, egress.Network, egress.Label:
		g.peers = append(g.peers, r.Peer())
	}
	if g.text != "" {
		g.text += ","
	}
	g.text += r.String()
}

// groupOf returns the index of the group of a domain rule.
func groupOf(groups []group, r egress.Rule) int {
	return slices.IndexFunc(groups, func(g group) bool {
		return g.kind == egress.Prefix && g.deny == r.Deny && g.ports == r.Ports && g.anyName == r.AnyName
	})
}

// rule returns the domain rule that the group stands for.
func (g group) rule() egress.Rule {
	return egress.Rule{Kind: egress.Domain, Deny: g.deny, Ports: g.ports, AnyName: g.anyName}
}

// domainText returns the rules of the group without whether names of servers are checked.
func (g group) domainText() string { return strings.ReplaceAll(g.text, egress.AnyName, "") }

// protocol is an IP protocol number; 0 stands for all.
type protocol struct{ number uint8 }

// Protocol numbers.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// protocols returns the protocols of a group.
func (g group) protocols(v6 bool) []protocol {
	switch g.ports.Protocol {
	case egress.TCP:
		return []protocol{{protoTCP}}
	case egress.UDP:
		return []protocol{{protoUDP}}
	case egress.SCTP:
		return []protocol{{protoSCTP}}
	case egress.ICMP:
		if v6 {
			return []protocol{{protoICMPv6}}
		}
		return []protocol{{protoICMP}}
	}
	if g.ports.First != 0 {
		return []protocol{{protoTCP}, {protoUDP}}
	}
	return []protocol{{}}
}

// Kinds of sets of a container.
const (
	setStatic = "static" // destinations
	setNames  = "names"  // learned destinations
	setFrom   = "from"   // sources
)

// setName returns the name of a set of a container. generation makes the names of a new policy differ
// from those it replaces.
func setName(short string, generation uint64, group int, kind string, v6 bool) string {
	return fmt.Sprintf("%s_%d_%s%d_%d", short, generation, kind, group, version(v6))
}

// peerSet returns the name of the set of a container, network or label, which all policies share.
func peerSet(peer string, v6 bool) string {
	sum := sha256.Sum256([]byte(peer))
	return fmt.Sprintf("peer_%x_%d", sum[:8], version(v6))
}

func version(v6 bool) int {
	if v6 {
		return 6
	}
	return 4
}
