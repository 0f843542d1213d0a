package rules

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
)

// setHost has the addresses of the host, in the namespace of a container: packets to them look like others there.
const setHost = "host"

// InsideSets returns the sets in the namespace of a container that do not depend on its rules.
func InsideSets(t *nftables.Table, host []netip.Prefix) []Set {
	all := addressSets(t)
	for _, f := range families() {
		all = append(all, Set{&nftables.Set{Table: t, Name: sharedSet(setHost, f.v6), KeyType: f.address,
			Interval: true}, intervals(prefixes.Merge(f.of(host)))})
	}
	return all
}

// InsideVerdicts returns the chains in the namespace of a container that do not depend on its rules.
func InsideVerdicts() []Chain { return []Chain{{chainRefused, refusedRules()}} }

// InsideChains returns the base chains in the namespace of a container. All interfaces but those that the host sees
// are subject to its rules, so also one that is about to be connected. While no endpoint has addresses, nothing passes.
func InsideChains(t *nftables.Table, p *plan.Plan) (all []TableChain) {
	for _, d := range Directions() {
		name, hook, key := "output", nftables.ChainHookOutput, expr.MetaKeyOIFNAME
		target, has := ChainName(p, d), ChainName(p, d) != ""
		if d == Incoming {
			name, hook, key = "input", nftables.ChainHookInput, expr.MetaKeyIIFNAME
		}
		c := TableChain{Chain: baseChain(t, name, hook,
			nftables.ChainPriorityRef(*nftables.ChainPriorityFilter-10))}
		c.Rules = insideRules(d, key, p)
		switch {
		case p.IsHeldInside():
			c.Rules = append(c.Rules, Rule{"the policy is not in force yet", drop()})
		case has:
			c.Rules = append(c.Rules, Rule{"known connections", join(established(), goOn())})
			c.Rules = append(append(c.Rules, errorRules()...),
				Rule{"the policy", []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: target}}})
		}
		all = append(all, c)
	}
	return all
}

// insideRules returns the rules for packets that no policy is about.
func insideRules(d Direction, key expr.MetaKey, p *plan.Plan) []Rule {
	on := func(name string) []expr.Any {
		return []expr.Any{meta(key, reg1), equal(append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)...)}
	}
	all := []Rule{{"within the container", join(on("lo"), goOn())}}
	for _, e := range p.Endpoints {
		if !e.Inside && e.Interface != "" {
			all = append(all, Rule{"the host sees it", join(on(e.Interface), goOn())})
		}
	}
	if d == Outgoing {
		all = append(all, Rule{"the embedded name server",
			join([]expr.Any{meta(expr.MetaKeyMARK, reg1), equal(native(egress.MarkNameServer)...)}, goOn())})
	}
	return append(all, Rule{"neighbour discovery", join(neighbours(), goOn())},
		Rule{"IPv6 multicast groups", join(listeners(), goOn())})
}

// goOn accepts packets that no policy is about.
func goOn() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

// listeners matches reports of multicast listeners: the kernel sends them, and neighbour discovery can need them.
func listeners() []expr.Any {
	const report = 143 // version 2
	return []expr.Any{
		meta(expr.MetaKeyL4PROTO, reg1), equal(unix.IPPROTO_ICMPV6),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		equal(report),
	}
}
