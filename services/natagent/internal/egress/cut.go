package egress

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
)

// cuts selects the connections of a container that its policy does not allow, with its present answers.
func (e *Enforcer) cuts(c *installed) (cuts []conntrack.Selector) {
	has := c.has(e.book(c.Owner).Clone(), e.prefixes)
	decide := func(p egress.Policy) func(uint8, netip.AddrPort, bool) bool {
		return func(protocol uint8, peer netip.AddrPort, local bool) bool {
			return !p.Decide(target(protocol, peer, local, has)).Allowed
		}
	}
	for _, a := range c.addresses() {
		if c.out.Restricts() {
			cuts = append(cuts, conntrack.Selector{Source: a, Denied: decide(c.out)})
		}
		if c.in.Restricts() {
			cuts = append(cuts, conntrack.Selector{Into: a, Denied: decide(c.in)})
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
func (c *installed) has(known *answered.Book,
	prefixes func(peer string) []netip.Prefix) func(r egress.Rule, a netip.Addr) bool {
	return func(r egress.Rule, a netip.Addr) bool {
		if r.Kind == egress.Domain {
			return known.Has(answered.Open{Group: groupOf(c.groups, r), Addr: a})
		}
		return slices.ContainsFunc(prefixes(r.Peer()), func(p netip.Prefix) bool { return p.Contains(a) })
	}
}
