package egress

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

// Limits of learned addresses.
const (
	// grace is added to the TTL of an answer: clients connect a moment after the answer.
	grace = time.Minute
	// maxTTL bounds the TTL of an answer.
	maxTTL = 24 * time.Hour
	// maxLearned bounds the addresses of one container. The first ones of an answer are learned.
	maxLearned = 4096
)

// Learn opens the addresses that the name server is about to answer for a name.
func (e *Enforcer) Learn(ctx context.Context, owner, name string, addresses []netip.Addr, ttl time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.start(ctx); err != nil {
		return err
	}
	c := e.installed[owner]
	if c == nil {
		return fault.New(fault.NotFound, "container "+id.Short(owner), "has no egress policy")
	}

	e.remember(owner, name, addresses)
	ttl = min(max(ttl, 0), maxTTL) + grace
	add, renew := e.sort(c, name, addresses, ttl)
	if len(add)+len(renew) == 0 {
		return nil
	}

	until := time.Now().Add(ttl)
	for _, some := range []map[answer]time.Duration{add, renew} {
		for a := range some {
			e.expiry[owner][a] = until
		}
	}
	if err := e.kernel.learn(c, add, renew); err != nil {
		return e.rebuild()
	}
	return nil
}

// remember keeps the name of addresses for records.
func (e *Enforcer) remember(owner, name string, addresses []netip.Addr) {
	known := e.names[owner]
	if known == nil || len(known) > maxLearned {
		known = map[netip.Addr]string{}
		e.names[owner] = known
	}
	for _, a := range addresses {
		known[a.Unmap()] = strings.ToLower(strings.TrimSuffix(name, "."))
	}
}

// sort returns the addresses that are new, and those that expire before the answer does. ttl has the
// grace, so that an address is renewed at most once in that time.
func (e *Enforcer) sort(c *installed, name string, addresses []netip.Addr, ttl time.Duration) (add,
	renew map[answer]time.Duration) {
	known, now := e.expiry[c.Owner], time.Now()
	if known == nil {
		known = map[answer]time.Time{}
		e.expiry[c.Owner] = known
	}
	for a, until := range known {
		if !until.After(now) {
			delete(known, a)
		}
	}

	p := c.Policy()
	groups := plan(p)
	add, renew = map[answer]time.Duration{}, map[answer]time.Duration{}
	for _, r := range p.RulesFor(name) {
		i := groupOf(groups, r)
		for _, addr := range addresses {
			a := answer{i, addr.Unmap()}
			until, present := known[a]
			switch {
			case present && until.Sub(now) < ttl-grace: // clients keep the answer for its TTL
				renew[a] = ttl
			case !present && len(known)+len(add) < maxLearned:
				add[a] = ttl
			}
		}
	}
	return add, renew
}

// adopt returns the learned addresses that a new policy of a container keeps: those of the same
// domains. Groups can have other numbers.
func (e *Enforcer) adopt(c *Container, old *installed) map[answer]time.Duration {
	kept, now := map[answer]time.Duration{}, time.Now()
	expiry := map[answer]time.Time{}
	if old != nil {
		from, to := plan(old.Policy()), plan(c.Policy())
		for a, until := range e.expiry[c.Owner] {
			if a.group >= len(from) || !until.After(now) {
				continue
			}
			for i, g := range to {
				if g.domains && g.text == from[a.group].text && g.deny == from[a.group].deny {
					kept[answer{i, a.addr}], expiry[answer{i, a.addr}] = until.Sub(now), until
				}
			}
		}
	}
	e.expiry[c.Owner] = expiry
	return kept
}
