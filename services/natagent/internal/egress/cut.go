package egress

import (
	"context"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
)

// cuts selects the connections of a container that its policy does not allow, with its present answers. old is the
// policy before, with the answers under it; both can be nil.
func (e *Enforcer) cuts(c, old *plan.Plan, before *answered.Book) (cuts []conntrack.Selector) {
	knows := has(c, e.book(c.Owner).Clone(), e.prefixes)
	unchecked := e.unchecked(old, before)
	for _, a := range append(c.Addresses(), c.LinkLocals()...) { // one selector for a source and one for a destination
		if c.Out.Restricts() {
			cuts = append(cuts, conntrack.Selector{Source: a,
				Denied: func(protocol uint8, peer netip.AddrPort, local bool) bool {
					t := target(protocol, peer, local, knows)
					d := c.Out.Decide(t)
					return !d.Allowed || d.ChecksQUIC() && unchecked(t)
				}})
		}
		if c.In.Restricts() {
			cuts = append(cuts, conntrack.Selector{Into: a,
				Denied: func(protocol uint8, peer netip.AddrPort, local bool) bool {
					return !c.In.Decide(target(protocol, peer, local, knows)).Allowed
				}})
		}
	}
	return cuts
}

// unchecked returns a function that reports whether a policy before allowed QUIC to an address without a check of
// names. The kernel does not queue the packets of such connections.
func (e *Enforcer) unchecked(old *plan.Plan, before *answered.Book) func(egress.Target) bool {
	if old == nil || before == nil {
		return func(t egress.Target) bool { return egress.IsPublic(t.Addr) }
	}
	knew := has(old, before.Clone(), e.prefixes)
	return func(t egress.Target) bool {
		t.Has = func(r egress.Rule) bool { return knew(r, t.Addr) }
		return egress.IsPublic(t.Addr) && !old.Out.Decide(t).ChecksQUIC()
	}
}

// cutInside deletes connections in the namespace of a container.
func cutInside(ctx context.Context, e *Enforcer, owner string, cuts []conntrack.Selector) error {
	e.mu.Lock()
	flows := e.inside.Flows(owner)
	e.mu.Unlock()
	if flows == nil {
		return nil
	}
	return flows.Delete(ctx, cuts)
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
