package tables

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

// Chains that no container uses stay for the next one with the same rules.
const (
	maxIdle  = 64
	idleTime = 5 * time.Minute
)

// sharedChain is a chain in the kernel. All containers with the same rules share it.
type sharedChain struct {
	rules int
	sets  []*nftables.Set
	texts []string // of the sets, for comparison
	peers []string
	users int
	idle  time.Time // since when there are no users
}

// enter makes a container a user of its chains. It queues those that are missing, and reports whether there are any.
func (k *Tables) enter(p *plan.Plan, peers func(string) []netip.Prefix) (queued bool) {
	for _, d := range rules.Directions() {
		name := rules.ChainName(p, d)
		if name == "" {
			continue
		}
		if k.chains[name] == nil {
			k.queueShared(rules.Shared(k.inet(), p, d), peers)
			queued = true
		}
		k.chains[name].users++
	}
	return queued
}

// queueShared queues a chain with its sets. Nothing refers to it yet.
func (k *Tables) queueShared(c rules.PolicyChain, peers func(string) []netip.Prefix) {
	s := &sharedChain{rules: len(c.Rules), peers: c.Peers}
	for _, peer := range c.Peers {
		k.queuePeer(peer, peers)
	}
	for _, set := range c.Sets {
		_ = k.conn.AddSet(set.Set, set.Elements)
		s.sets, s.texts = append(s.sets, set.Set), append(s.texts, setText(set.Set, starts(set.Elements)))
	}

	t := k.inet()
	k.conn.AddChain(&nftables.Chain{Name: c.Name, Table: t})
	queueRules(k.conn, t, c.Name, c.Rules)
	k.chains[c.Name] = s
}

// leave ends the use of chains by a container.
func (k *Tables) leave(p *plan.Plan, now time.Time) {
	for _, d := range rules.Directions() {
		if c := k.chains[rules.ChainName(p, d)]; c != nil {
			if c.users--; c.users == 0 {
				c.idle = now
			}
		}
	}
}

// queueIdle queues the removal of chains without users: those that were idle for a while or name peers, and the oldest
// if there are many. It reports whether there are any.
func (k *Tables) queueIdle(now time.Time) bool {
	var idle []string
	for name, c := range k.chains {
		if c.users == 0 {
			idle = append(idle, name)
		}
	}
	slices.SortFunc(idle, func(a, b string) int { return k.chains[b].idle.Compare(k.chains[a].idle) })
	queued := false
	for i, name := range idle {
		if c := k.chains[name]; i >= maxIdle || now.Sub(c.idle) >= idleTime || len(c.peers) > 0 {
			k.queueRemove(name)
			queued = true
		}
	}
	return queued
}

// queueRemove queues the removal of a chain with its sets, and of the sets of peers that no other chain names.
func (k *Tables) queueRemove(name string) {
	c, t := k.chains[name], k.inet()
	chain := &nftables.Chain{Name: name, Table: t}
	k.conn.FlushChain(chain)
	k.conn.DelChain(chain)
	for _, s := range c.sets {
		k.conn.DelSet(s)
	}
	for _, peer := range c.peers {
		k.releasePeer(peer)
	}
	delete(k.chains, name)
}

// Tidy removes chains that were not used for a while.
func (k *Tables) Tidy(now time.Time) error {
	if !k.queueIdle(now) {
		return nil
	}
	return k.commit()
}
