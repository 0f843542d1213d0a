package egress

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
)

// cuts selects the connections of a container that its policy does not allow, with its present answers.
func (e *Enforcer) cuts(c *plan.Plan) (cuts []conntrack.Selector) {
	knows := has(c, e.book(c.Owner).Clone(), e.prefixes)
	decide := func(p egress.Policy) func(uint8, netip.AddrPort, bool) bool {
		return func(protocol uint8, peer netip.AddrPort, local bool) bool {
			return !p.Decide(target(protocol, peer, local, knows)).Allowed
		}
	}
	for _, a := range c.Addresses() {
		if c.Out.Restricts() {
			cuts = append(cuts, conntrack.Selector{Source: a, Denied: decide(c.Out)})
		}
		if c.In.Restricts() {
			cuts = append(cuts, conntrack.Selector{Into: a, Denied: decide(c.In)})
		}
	}
	return cuts
}

// target returns the target of a connection with a peer.
func target(protocol uint8, peer netip.AddrPort, local bool, has func(egress.Rule, netip.Addr) bool) egress.Target {
	return egress.Target{Addr: peer.Addr(), Protocol: egress.Protocol(ippacket.ProtocolName(protocol)),
		Port: peer.Port(), Host: local, Has: func(r egress.Rule) bool { return has(r, peer.Addr()) }}
}

// has returns a function that reports whether an address is known, as answered to the container for the
// domain of a rule, or belongs to the rule's container, network or label.
func has(c *plan.Plan, known *answered.Book,
	prefixes func(peer string) []netip.Prefix) func(r egress.Rule, a netip.Addr) bool {
	return func(r egress.Rule, a netip.Addr) bool {
		if r.Kind == egress.Domain {
			return known.Has(answered.Open{Group: c.GroupOf(r), Addr: a})
		}
		return slices.ContainsFunc(prefixes(r.Peer()), func(p netip.Prefix) bool { return p.Contains(a) })
	}
}
