package egress

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
)

// cut deletes the connections of a container that its policy does not allow. Packets of known
// connections are not looked at otherwise.
func (e *Enforcer) cut(ctx context.Context, c *Container) {
	if err := e.flows.Delete(ctx, e.cuts(c)); err != nil {
		e.log.Warn("connections that the policy does not allow may continue", "container", c.Name, "error", err)
	}
}

// cuts selects the connections of a container that its policy does not allow.
func (e *Enforcer) cuts(c *Container) (cuts []conntrack.Selector) {
	out, in := c.Policy(), c.IngressPolicy()
	has := has(out, e.expiry[c.Owner], e.prefixes)
	decide := func(p egress.Policy) func(uint8, netip.AddrPort, bool) bool {
		return func(protocol uint8, peer netip.AddrPort, local bool) bool {
			return !p.Decide(target(protocol, peer, local, has)).Allowed
		}
	}
	for _, a := range c.addresses() {
		if out.Restricts() {
			cuts = append(cuts, conntrack.Selector{Source: a, Denied: decide(out)})
		}
		if in.Restricts() {
			cuts = append(cuts, conntrack.Selector{Into: a, Denied: decide(in)})
		}
	}
	return cuts
}

// target returns the target of a connection with a peer.
func target(protocol uint8, peer netip.AddrPort, local bool, has func(egress.Rule, netip.Addr) bool) egress.Target {
	return egress.Target{Addr: peer.Addr(), Protocol: egress.Protocol(ippacket.ProtocolName(protocol)),
		Port: peer.Port(),
		Host: local, Has: func(r egress.Rule) bool { return has(r, peer.Addr()) }}
}

// has returns a function that reports whether an address is known, as answered to the container of a
// policy for the domain of a rule, or belongs to the rule's container, network or label.
func has(p egress.Policy, known map[answer]time.Time,
	prefixes func(peer string) []netip.Prefix) func(r egress.Rule, a netip.Addr) bool {
	groups := plan(p)
	return func(r egress.Rule, a netip.Addr) bool {
		if r.Kind == egress.Domain {
			_, ok := known[answer{groupOf(groups, r), a}]
			return ok
		}
		return slices.ContainsFunc(prefixes(r.Peer()), func(p netip.Prefix) bool { return p.Contains(a) })
	}
}
