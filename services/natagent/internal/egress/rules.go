package egress

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// Names in the kernel.
const (
	TableName    = "fairlead-egress" // of both tables
	chainRefused = "refused"
	mapVia       = "via"
	mapPolicies  = "policies"
	mapIngress   = "ingress"
	setLimited   = "limited"
	setHeld      = "held"
	setGuarded   = "guarded"
	// maxComment is the longest comment of a rule that nft accepts.
	maxComment = 127
)

// Records of refused packets.
const (
	Group      = 1071 // of NFLOG
	recordRate = 100  // records of one rule in a second; the counters count all packets
	snapLength = 128
)

// Reasons of a record.
const (
	reasonMetadata = egress.ReasonMetadata
	reasonDNS      = egress.ReasonDNS
	reasonRule     = egress.ReasonRule
	reasonPolicy   = egress.ReasonPolicy
	reasonObserve  = refusals.Observed
	reasonName     = "name" // a question about a name
	reasonQUIC     = egress.ReasonQUIC
)

// markIncoming follows the reason of incoming packets.
const markIncoming = "in"

// rule is a rule with its comment.
type rule struct {
	comment string
	exprs   []expr.Any
}

func (r rule) userData() []byte {
	return userdata.AppendString(nil, userdata.TypeComment, r.comment[:min(len(r.comment), maxComment)])
}

// prefix returns the log prefix of a container and a reason.
func prefix(owner, reason string, d direction) string {
	text := "fairlead " + id.Short(owner) + " " + reason
	if d == incoming {
		text += " " + markIncoming
	}
	return text
}

// parsePrefix returns the short container ID, the reason and the direction of a record.
func parsePrefix(text string) (short, reason string, d direction, ok bool) {
	fields := strings.Fields(strings.TrimRight(text, "\x00"))
	if len(fields) < 3 || fields[0] != "fairlead" {
		return "", "", outgoing, false
	}
	if len(fields) == 4 && fields[3] == markIncoming {
		return fields[1], fields[2], incoming, true
	}
	return fields[1], fields[2], outgoing, len(fields) == 3
}

// chainRules returns the rules of a container's chain for outgoing traffic, nil without rules. All packets
// of new connections traverse it.
func chainRules(c *installed) []rule {
	b := &chainBuilder{owner: c.Owner, generation: c.generation}
	return b.build(c.out, c.groups)
}

// ingressRules returns the rules of a container's chain for incoming traffic, nil without rules.
func ingressRules(c *installed) []rule {
	b := &chainBuilder{owner: c.Owner, generation: c.generation, direction: incoming}
	return b.build(c.in, c.inGroups)
}

// chainBuilder collects the rules of a chain.
type chainBuilder struct {
	owner      string
	generation uint64
	direction  direction
	rules      []rule
}

func (b *chainBuilder) build(p egress.Policy, groups []group) []rule {
	if p.Observes() {
		b.add("record new connections", record(prefix(b.owner, reasonObserve, b.direction)))
	}

	for i, g := range groups {
		if order(g) == 0 {
			b.group(i, g)
		}
	}

	if p.Restricts() && !p.OpensMetadata() && b.direction == outgoing {
		b.metadata()
	}
	if p.HasDomains() {
		b.dns()
	}

	for i, g := range groups {
		if order(g) > 0 {
			b.group(i, g)
		}
	}
	for turn := range 3 {
		for i, g := range groups {
			if g.domains && !g.deny && g.turn() == turn {
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
	b.rules = append(b.rules, rule{comment, join(parts...)})
}

// refuse records and refuses what matches.
func (b *chainBuilder) refuse(comment, reason string, match []expr.Any) {
	b.add(comment, match, record(prefix(b.owner, reason, b.direction)))
	b.add(comment, match, refuse())
}

// metadata refuses the metadata services of clouds.
func (b *chainBuilder) metadata() {
	for _, f := range families() {
		b.refuse("metadata services need a rule: metadata", reasonMetadata,
			join(f.only(), outgoing.peer(f, sharedSet("metadata", f.v6), false)))
	}
}

// dns refuses other name servers than the embedded one, whose sockets are in the container.
func (b *chainBuilder) dns() {
	for _, p := range []uint8{protoTCP, protoUDP} {
		for _, port := range egress.DNSPorts() {
			b.refuse("with domain rules, only the embedded name server can be used", reasonDNS,
				hasPorts(protocol{p}, egress.Ports{First: port, Last: port}))
		}
	}
}

// group adds the rules of a group.
func (b *chainBuilder) group(index int, g group) {
	for _, f := range families() {
		for _, match := range b.matches(index, g, f) {
			for _, p := range g.protocols(f.v6) {
				all := join(f.only(), match, hasPorts(p, g.ports))
				if g.deny {
					b.refuse(g.text, reasonRule, all)
				} else {
					b.add(g.text, all, accept())
				}
			}
		}
	}
}

// matches returns the alternatives that match the addresses of a group.
func (b *chainBuilder) matches(index int, g group, f family) (all [][]expr.Any) {
	d := b.direction
	switch g.kind {
	case egress.All, egress.Observe:
		return [][]expr.Any{nil}
	case egress.Host:
		return [][]expr.Any{d.local(false)}
	case egress.Metadata:
		return [][]expr.Any{d.peer(f, sharedSet("metadata", f.v6), false)}
	case egress.LAN:
		return [][]expr.Any{join(d.local(true), d.peer(f, sharedSet("private", f.v6), false))}
	case egress.Internet:
		return [][]expr.Any{join(d.local(true), d.peer(f, sharedSet("private", f.v6), true),
			d.peer(f, sharedSet("special", f.v6), true))}
	case egress.Container:
		for _, peer := range g.peers { // the gateway of a network is the host
			all = append(all, join(d.local(true), d.peer(f, peerSet(peer, f.v6), false)))
		}
		return all
	}

	if len(f.of(g.prefixes)) > 0 {
		all = append(all, d.peer(f, b.setName(index, setStatic, f.v6), false))
	}
	if g.domains && g.deny {
		all = append(all, d.peer(f, b.setName(index, setNames, f.v6), false))
	}
	return all
}

func (b *chainBuilder) setName(group int, kind string, v6 bool) string {
	if b.direction == incoming {
		kind = setFrom
	}
	return setName(id.Short(b.owner), b.generation, group, kind, v6)
}

// sharedSet returns the name of a set of all containers.
func sharedSet(name string, v6 bool) string { return fmt.Sprintf("%s%d", name, version(v6)) }

// chainName returns the name of a container's chain.
func chainName(owner string, generation uint64) string {
	return fmt.Sprintf("%s_%d", id.Short(owner), generation)
}

// ingressChainName returns the name of a container's chain for incoming traffic.
func ingressChainName(owner string, generation uint64) string {
	return chainName(owner, generation) + "_in"
}

// baseRules returns the rules of the chains that do not belong to one container. A container is
// recognized by its MAC address, which the port guard enforces: it can have addresses that netagent
// has not assigned, such as a link-local one.
func baseRules(kind queueKind) map[string][]rule {
	start := append(knownRules(), rule{"neighbour discovery",
		join(neighbours(), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})})
	start = append(start, rule{"containers with a policy", []expr.Any{
		meta(expr.MetaKeyIIFTYPE, reg1), equal(binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)...),
		ethernet(offsetFrom),
		&expr.Lookup{SourceRegister: reg1, SetName: mapPolicies, DestRegister: 0, IsDestRegSet: true}}})
	in := incomingRules()
	return map[string][]rule{
		"forward":         start,
		"input":           start,
		"forward-ingress": in,
		"output":          append(knownRules(), in...),
		chainChecked:      checkedRules(kind),
		chainRefused: {
			{"end of a TCP connection", []expr.Any{meta(expr.MetaKeyL4PROTO, reg1), equal(protoTCP),
				&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}},
			{"administratively prohibited", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH,
				Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}},
		},
	}
}

// incomingRules returns the rules that find the chain for incoming traffic of a container, by its address.
func incomingRules() []rule {
	rules := []rule{{"known connections", join(established(), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})},
		{"neighbour discovery", join(neighbours(), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})}}
	for _, f := range families() {
		rules = append(rules, rule{"to containers with a policy", join(f.only(), []expr.Any{
			network(f.daddr, f.length),
			&expr.Lookup{SourceRegister: reg1, SetName: sharedSet(mapIngress, f.v6), DestRegister: 0,
				IsDestRegSet: true}})})
	}
	return rules
}

// baseChains returns the chains that do not belong to one container. Targets of jumps come first. What
// the sender's policy allows passes the receiver's in a chain of its own.
func baseChains(t *nftables.Table) (all []*nftables.Chain) {
	all = append(all, &nftables.Chain{Name: chainRefused, Table: t}, &nftables.Chain{Name: chainChecked, Table: t})
	for _, c := range []struct {
		name string
		hook *nftables.ChainHook
		late nftables.ChainPriority
	}{
		{"forward", nftables.ChainHookForward, 0}, {"input", nftables.ChainHookInput, 0},
		{"forward-ingress", nftables.ChainHookForward, 1}, {"output", nftables.ChainHookOutput, 1},
	} {
		priority, policy := nftables.ChainPriorityRef(*nftables.ChainPriorityFilter-10+c.late),
			nftables.ChainPolicyAccept
		all = append(all, &nftables.Chain{Name: c.name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: c.hook,
			Priority: priority, Policy: &policy})
	}
	return all
}
