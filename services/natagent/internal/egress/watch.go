package egress

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
	"github.com/fairlead/fairlead/services/natagent/internal/nflog"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// retry is the delay before the log is opened again.
const retry = time.Second

// reasonName is the reason of a refused question about a name.
const reasonName = "name"

// Run records what the kernel reports until ctx ends.
func (e *Enforcer) Run(ctx context.Context) {
	select {
	case <-e.begun:
	case <-ctx.Done():
		return
	}

	var checks sync.WaitGroup
	defer checks.Wait()
	checks.Go(func() { e.syncNamespaces(ctx) })
	if e.tables.QueuesPackets() {
		checks.Go(func() { e.servers.Run(ctx, e.ns.Fd(), e.queues) })
	}

	refused := e.refused
	for ctx.Err() == nil {
		var err error
		if refused == nil {
			refused, err = e.openLog()
		}
		if err == nil {
			err = refused.Read(ctx, e.record, func() { e.journal.AddLost(1) })
		}
		if err == nil {
			return
		}
		refused = nil
		e.log.Warn("refused packets are not recorded", "error", err)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
}

// syncNamespaces opens namespaces of containers that could not be opened before, and restores rules in them, until ctx
// ends.
func (e *Enforcer) syncNamespaces(ctx context.Context) {
	tick := time.NewTicker(retry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.mu.Lock()
		if e.inside.IsDue() {
			if err := e.inside.Sync(ctx, e.installed); err != nil {
				e.log.Warn("egress policies in namespaces of containers are not up to date", "error", err)
			}
		}
		e.mu.Unlock()
	}
}

// openLog opens the log of refused packets.
func (e *Enforcer) openLog() (*nflog.Log, error) {
	return nflog.Open(e.ns.Fd(), nflog.Group{Number: rules.Group, Length: rules.SnapLength})
}

// record adds a record of the kernel to the journal.
func (e *Enforcer) record(l nflog.Packet) {
	short, reason, d, ok := rules.ParsePrefix(l.Prefix)
	if !ok {
		return
	}
	p, ok := ippacket.Parse(l.Data)
	if !ok {
		return
	}

	r := refusals.Refusal{Time: time.Now(), Reason: reason, Protocol: ippacket.ProtocolName(p.Protocol),
		Address: p.To.Addr(), Port: p.To.Port(), Incoming: d == rules.Incoming}
	if r.Incoming {
		r.Address = p.From
	}
	e.mu.Lock()
	var names []string
	if c := e.index.find(short, d, l, p); c != nil {
		if reason == egress.ReasonConnections && slices.Contains(c.Addresses(), p.To.Addr()) {
			r.Incoming, r.Address = true, p.From // limits count both directions in one chain
		}
		r.Owner, r.Name, names = c.Owner, c.Name, e.book(c.Owner).Names(r.Address, r.Time)
		if reason == egress.ReasonRule {
			r.Rule = e.ruleOf(c, p, d)
		}
	}
	e.mu.Unlock()
	for i, name := range names {
		if r.Domain = name; i == 0 || reason == refusals.Observed { // one that is observed can be for each name
			e.journal.Add(r)
		}
	}
}

// ruleOf returns the rule that denies a packet. mu must be held.
func (e *Enforcer) ruleOf(c *plan.Plan, p ippacket.Packet, d rules.Direction) string {
	policy, peer := c.Out, p.To
	if d == rules.Incoming {
		policy, peer = c.In, netip.AddrPortFrom(p.From, p.To.Port())
	}
	knows := has(c, e.book(c.Owner), e.prefixes)
	for _, local := range []bool{false, true} { // the record has no interface
		if found := policy.Decide(target(p.Protocol, peer, local, knows)); found.Reason == egress.ReasonRule {
			return found.Rule
		}
	}
	return ""
}

// Firsts returns the first refusals of each kind after a time, and a channel that is closed when there are
// more.
func (e *Enforcer) Firsts(t time.Time) ([]refusals.Refusal, <-chan struct{}) {
	return e.journal.Firsts(t)
}

// RecordName records that a question about a name was refused, after others that are lost.
func (e *Enforcer) RecordName(_ context.Context, owner, name string, lost uint64) error {
	if lost > 0 {
		e.journal.AddLost(1)
	}
	r := refusals.Refusal{Time: time.Now(), Owner: owner, Reason: reasonName, Domain: name}
	if c, ok := e.store.Policy(owner); ok {
		r.Name = c.Name
	}
	e.journal.Add(r)
	return nil
}

// Since returns the refusals after a time, the number of overflows that lost some, and a channel that
// is closed when there are more.
func (e *Enforcer) Since(t time.Time) ([]refusals.Refusal, uint64, <-chan struct{}) {
	return e.journal.Since(t)
}

// counters returns the packets that the policy of a container allowed, and those that it and the limits
// refused. mu must be held.
func (e *Enforcer) counters(c *plan.Plan) (allowed, refused uint64, err error) {
	on, err := e.tables.Counters(c)
	if err != nil {
		return 0, 0, err
	}
	allowed, refused = on.Allowed, on.Refused
	within, refusedWithin, err := e.inside.Counters(c)
	allowed, refused = allowed+within, refused+refusedWithin
	if err != nil || !c.LimitsConnections() {
		return allowed, refused, err
	}
	above, err := e.tables.LimitRefusals(c.Container)
	return allowed, refused + above, err
}

// Refused returns the number of packets that the present policy of a container refused.
func (e *Enforcer) Refused(owner string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.installed[owner]
	if c == nil {
		return 0
	}
	_, n, err := e.counters(c)
	if err != nil {
		e.log.Warn("refused packets not counted", "container", c.Name, "error", err)
	}
	return n + e.servers.Refused(owner)
}
