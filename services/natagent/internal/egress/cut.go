package egress

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
)

// cuts selects the connections of a container that its policy does not allow. old is the policy before, with the
// answers under it; both can be nil. The selectors look at the answers until they are used: a connection can begin
// meanwhile.
func (e *Enforcer) cuts(c, old *plan.Plan, before *answered.Book) []conntrack.Selector {
	return cutsSince(e, c, earlierOf(old, before, e.prefixes))
}

// cutsSince is cuts with the policy before.
func cutsSince(e *Enforcer, c *plan.Plan, was earlier) (cuts []conntrack.Selector) {
	knows := e.knowing(c)
	for _, a := range append(c.Addresses(), c.LinkLocals()...) { // one selector for a source and one for a destination
		if c.Out.Restricts() {
			cuts = append(cuts, conntrack.Selector{Source: a,
				Denied: func(protocol uint8, peer netip.AddrPort, local bool) bool {
					t := target(protocol, peer, local, knows)
					switch d := c.Out.Decide(t); {
					case d.Allowed:
						return d.ChecksQUIC() && was.unchecked(t)
					case d.Reason == egress.ReasonPolicy || d.Reason == egress.ReasonQUIC:
						return !was.continues(c.Out, t)
					}
					return true
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

// knowing returns a function as has does, which also knows what is answered from now on. mu must not be held when it
// is called.
func (e *Enforcer) knowing(c *plan.Plan) func(r egress.Rule, a netip.Addr) bool {
	knew := has(c, e.book(c.Owner).Clone(), e.prefixes)
	return func(r egress.Rule, a netip.Addr) bool {
		if knew(r, a) {
			return true
		}
		if r.Kind != egress.Domain {
			return false
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		now, book := e.installed[c.Owner], e.books[c.Owner]
		return now != nil && book != nil && book.Has(answered.Open{Group: now.GroupOf(r), Addr: a})
	}
}

// earlier is a policy before a change, with its answers. The zero value is none.
type earlier struct {
	policy egress.Policy
	knew   func(r egress.Rule, a netip.Addr) bool
}

func earlierOf(old *plan.Plan, before *answered.Book, prefixes func(peer string) []netip.Prefix) earlier {
	if old == nil || before == nil {
		return earlier{}
	}
	now := time.Now()
	return earlier{old.Out, has(old, answered.NewBook(before.Left(now), now), prefixes)}
}

// decide returns the decision of the policy before. If it is a refusal, a present connection has an address whose
// names are forgotten, or began after the change.
func (w earlier) decide(t egress.Target) egress.Decision {
	t.Has = func(r egress.Rule) bool { return w.knew(r, t.Addr) }
	return w.policy.Decide(t)
}

// unchecked reports whether QUIC to an address was allowed without a check of names. The kernel does not queue the
// packets of such connections.
func (w earlier) unchecked(t egress.Target) bool {
	if !egress.IsPublic(t.Addr) {
		return false
	}
	if w.knew == nil {
		return true
	}
	d := w.decide(t)
	return d.Allowed && !d.ChecksQUIC() || !d.Allowed && w.policy.AllowsUncheckedQUIC(t)
}

// continues reports whether a connection to an address whose names are forgotten continues.
func (w earlier) continues(next egress.Policy, t egress.Target) bool {
	return w.knew != nil && !w.decide(t).Allowed && w.policy.Continues(next, t)
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

// earlierAddresses returns the addresses of a container that starts, which can have connections of an earlier owner.
// Without IPv6 it has no link-local ones.
func earlierAddresses(c *plan.Container) []netip.Addr {
	all := c.Addresses()
	if slices.ContainsFunc(all, netip.Addr.Is6) {
		all = append(all, c.LinkLocals()...)
	}
	return all
}
