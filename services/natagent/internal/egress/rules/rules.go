// Package rules writes the policies of containers as chains, rules and sets of nf_tables. It does not write to
// the kernel: package tables does. Package egress explains the tables.
package rules

import (
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// Rule is a rule with its comment.
type Rule struct {
	Comment string
	Exprs   []expr.Any
}

// UserData returns the comment in the form of nft.
func (r Rule) UserData() []byte {
	return userdata.AppendString(nil, userdata.TypeComment, r.Comment[:min(len(r.Comment), maxComment)])
}

// Chain is a chain without a hook.
type Chain struct {
	Name  string
	Rules []Rule
}

// PolicyChain is the chain of a policy for one direction, with the sets that it needs. On the host all containers with
// the same rules share it.
type PolicyChain struct {
	Chain
	Sets  []Set
	Peers []string // containers, networks and labels that the rules name; their sets are shared
}

// Shared returns the chain of a container on the host for a direction with rules.
func Shared(t *nftables.Table, p *plan.Plan, d Direction) PolicyChain {
	b := &chainBuilder{chain: ChainName(p, d), direction: d}
	policy, groups := rulesOf(p, d)
	return PolicyChain{Chain{b.chain, b.build(policy, groups)}, b.sets(t, groups, nil), policy.Peers()}
}

// Own returns the chains of a container in its namespace, with the addresses that it learned.
func Own(t *nftables.Table, p *plan.Plan, learned map[answered.Open]time.Duration) (all []PolicyChain) {
	for _, d := range Directions() {
		if ChainName(p, d) != "" {
			b := &chainBuilder{chain: ChainName(p, d), owner: p.Owner, direction: d, inside: true}
			policy, groups := rulesOf(p, d)
			all = append(all, PolicyChain{Chain{b.chain, b.build(policy, groups)}, b.sets(t, groups, learned),
				policy.Peers()})
		}
	}
	return all
}

// rulesOf returns the rules of a container for a direction.
func rulesOf(p *plan.Plan, d Direction) (egress.Policy, []plan.Group) {
	if d == Incoming {
		return p.In, p.InGroups
	}
	return p.Out, p.Groups
}

// chainBuilder collects the rules of a chain.
type chainBuilder struct {
	chain     string
	owner     string // of a chain that is not shared
	direction Direction
	inside    bool // in the namespace of the container
	rules     []Rule
}

// local matches packets to or from the host, or with others all other packets.
func (b *chainBuilder) local(f family, others bool) []expr.Any {
	if b.inside {
		return b.direction.peer(f, sharedSet(setHost, f.v6), others)
	}
	return b.direction.local(others)
}

func (b *chainBuilder) build(p egress.Policy, groups []plan.Group) []Rule {
	if p.Observes() {
		b.observe()
	}

	for i, g := range groups {
		if g.First() {
			b.group(i, g)
		}
	}

	if p.Restricts() && !p.OpensMetadata() && b.direction == Outgoing {
		b.metadata()
	}
	if p.HasDomains() {
		b.dns()
	}

	for i, g := range groups {
		if !g.First() {
			b.group(i, g)
		}
	}
	for turn := range 3 {
		for i, g := range groups {
			if g.Domains && !g.Deny && g.Turn() == turn {
				b.names(i, g)
			}
		}
	}

	if p.Restricts() {
		b.refuse("not allowed by the policy", reasonPolicy, nil)
	}
	return b.rules
}

func (b *chainBuilder) add(comment string, parts ...[]expr.Any) {
	b.rules = append(b.rules, Rule{comment, join(parts...)})
}

// observe records new connections.
func (b *chainBuilder) observe() {
	const comment = "record new connections"
	if b.isShared() {
		b.add(comment, []expr.Any{&expr.Verdict{Kind: expr.VerdictJump,
			Chain: reasonChain(reasonObserve, b.direction)}})
		return
	}
	b.add(comment, record(prefix(id.Short(b.owner), reasonObserve, b.direction)))
}

// isShared reports whether the chain is that of several containers.
func (b *chainBuilder) isShared() bool { return b.owner == "" }

// refuse records and refuses what matches.
func (b *chainBuilder) refuse(comment, reason string, match []expr.Any) {
	if b.isShared() {
		b.add(comment, match, []expr.Any{count(), &expr.Verdict{Kind: expr.VerdictGoto,
			Chain: reasonChain(reason, b.direction)}})
		return
	}
	b.add(comment, match, record(prefix(id.Short(b.owner), reason, b.direction)))
	b.add(comment, match, refuse())
}

// metadata refuses the metadata services of clouds.
func (b *chainBuilder) metadata() {
	for _, f := range families() {
		b.refuse("metadata services need a rule: metadata", reasonMetadata,
			join(f.only(), Outgoing.peer(f, sharedSet("metadata", f.v6), false)))
	}
}

// dns refuses other name servers than the embedded one, whose sockets are in the container.
func (b *chainBuilder) dns() {
	for _, p := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		for _, port := range egress.DNSPorts() {
			b.refuse("with domain rules, only the embedded name server can be used", reasonDNS,
				hasPorts(p, egress.Ports{First: port, Last: port}))
		}
	}
}

// group adds the rules of a group.
func (b *chainBuilder) group(index int, g plan.Group) {
	for _, f := range families() {
		for _, match := range b.matches(index, g, f) {
			for _, p := range protocols(g, f.v6) {
				all := join(f.only(), match, hasPorts(p, g.Ports))
				if g.Deny {
					b.refuse(g.Text, reasonRule, all)
				} else {
					b.add(g.Text, all, accept())
				}
			}
		}
	}
}

// matches returns the alternatives that match the addresses of a group.
func (b *chainBuilder) matches(index int, g plan.Group, f family) (all [][]expr.Any) {
	d := b.direction
	switch g.Kind {
	case egress.All, egress.Observe:
		return [][]expr.Any{nil}
	case egress.Host:
		return [][]expr.Any{b.local(f, false)}
	case egress.Metadata:
		return [][]expr.Any{d.peer(f, sharedSet("metadata", f.v6), false)}
	case egress.LAN:
		return [][]expr.Any{join(b.local(f, true), d.peer(f, sharedSet("private", f.v6), false))}
	case egress.Internet:
		return [][]expr.Any{join(b.local(f, true), d.peer(f, sharedSet("private", f.v6), true),
			d.peer(f, sharedSet("special", f.v6), true))}
	case egress.Container:
		for _, peer := range g.Peers { // the gateway of a network is the host
			all = append(all, join(b.local(f, true), d.peer(f, peerSet(peer, f.v6), false)))
		}
		return all
	}

	switch list := f.of(g.Prefixes); {
	case len(list) == 1:
		all = append(all, d.within(f, list[0]))
	case len(list) > 1:
		all = append(all, d.peer(f, b.setName(index, setStatic, f.v6), false))
	}
	if g.Domains && g.Deny {
		all = append(all, b.learned(index, f))
	}
	return all
}

func (b *chainBuilder) setName(group int, kind string, v6 bool) string {
	if b.direction == Incoming {
		kind = setFrom
	}
	return setName(b.chain, group, kind, v6)
}
