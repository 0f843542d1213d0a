package egress

import (
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// Decision is the decision of the policy of a container about a connection.
type Decision struct {
	egress.Decision
	Container string // name
	Owner     string
	Incoming  bool // by the rules for incoming traffic
}

// Decide returns the decisions about a connection to a destination after DNAT: of the sender's policy and
// of the receiver's, as far as they have one. A zero sender is the host.
func (e *Enforcer) Decide(protocol string, from netip.Addr, to netip.AddrPort,
	local func(netip.Addr) bool) (all []Decision) {
	e.mu.Lock()
	defer e.mu.Unlock()
	knows := func(c *plan.Plan, a netip.Addr) func(egress.Rule) bool {
		known := has(c, e.book(c.Owner), e.prefixes)
		return func(r egress.Rule) bool { return known(r, a) }
	}
	t := egress.Target{Protocol: egress.Protocol(protocol), Port: to.Port()}
	if c := e.withAddress(from); c != nil && len(c.Rules) > 0 {
		p := c.Out
		t.Addr, t.Host, t.Has = to.Addr(), local(to.Addr()), knows(c, to.Addr())
		all = append(all, Decision{p.Decide(t), c.Name, c.Owner, false})
	}
	if c := e.withAddress(to.Addr()); c != nil && len(c.Ingress) > 0 {
		p := c.In
		t.Addr, t.Host, t.Has = from, !from.IsValid() || local(from), knows(c, from)
		all = append(all, Decision{p.Decide(t), c.Name, c.Owner, true})
	}
	return all
}

// RelayPolicy returns a function that reports whether policies allow a client to connect over TCP to a container behind
// a relay of the host. The kernel sees two connections of the host there. A refusal is recorded.
func RelayPolicy(e *Enforcer) func(client netip.Addr, to netip.AddrPort) bool {
	return func(client netip.Addr, to netip.AddrPort) bool { return allowsRelay(e, client, to) }
}

func allowsRelay(e *Enforcer, client netip.Addr, to netip.AddrPort) bool {
	local := e.flows.Local()
	isLocal := func(a netip.Addr) bool { return a.IsLoopback() || local[a] }
	for _, d := range e.Decide(string(egress.TCP), client, to, isLocal) {
		if d.Allowed {
			continue
		}
		r := refusals.Refusal{Time: time.Now(), Owner: d.Owner, Name: d.Container, Reason: d.Reason, Rule: d.Rule,
			Protocol: string(egress.TCP), Address: to.Addr(), Port: to.Port(), Incoming: d.Incoming}
		if d.Incoming {
			r.Address = client
		}
		e.journal.Add(r)
		return false
	}
	return true
}

// withAddress returns the container with an address, nil if no policy has it. mu must be held.
func (e *Enforcer) withAddress(a netip.Addr) *plan.Plan {
	for _, c := range e.installed {
		if slices.Contains(c.Addresses(), a) || slices.Contains(c.LinkLocals(), a) {
			return c
		}
	}
	return nil
}
