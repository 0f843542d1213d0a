package tables

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// Learn writes addresses to the sets of a container. An address that is present gets a new timeout.
func (k *Tables) Learn(c *plan.Plan, write map[answered.Open]time.Duration) error {
	k.queueLearned(c, write)
	return k.commit()
}

func (k *Tables) queueLearned(c *plan.Plan, write map[answered.Open]time.Duration) {
	for o, left := range write {
		queueLearned(k.conn, rules.SharedLearned(k.inet(), c, o), left)
	}
}

// queueLearned queues the elements of an address.
func queueLearned(conn *nflink.Link, l rules.Learned, left time.Duration) {
	var keys, timed []nftables.SetElement
	for _, key := range l.Keys {
		keys, timed = append(keys, nftables.SetElement{Key: key}), append(timed, nftables.SetElement{Key: key,
			Timeout: left})
	}
	if len(keys) == 0 {
		return
	}
	_ = conn.SetAddElements(l.Set, timed) // so that the deletion succeeds
	_ = conn.SetDeleteElements(l.Set, keys)
	_ = conn.SetAddElements(l.Set, timed)
}

// queueForget queues the removal of addresses that were open for the old policy of a container and are not for the new
// one. It reports whether there are any.
func (k *Tables) queueForget(c Change) (queued bool) {
	stay := map[string]bool{}
	if c.Now != nil {
		for o := range c.Learned {
			l := rules.SharedLearned(k.inet(), c.Now, o)
			for _, key := range l.Keys {
				stay[l.Set.Name+string(key)] = true
			}
		}
	}
	for o := range c.Before {
		l := rules.SharedLearned(k.inet(), c.Old, o)
		for _, key := range l.Keys {
			if stay[l.Set.Name+string(key)] {
				continue
			}
			gone := []nftables.SetElement{{Key: key}}
			_ = k.conn.SetAddElements(l.Set, []nftables.SetElement{{Key: key,
				Timeout: time.Second}}) // it can have ended
			_ = k.conn.SetDeleteElements(l.Set, gone)
			queued = true
		}
	}
	return queued
}

// Opened are the addresses that one interface learned, by the chain of its policy.
type Opened struct{ Chain, MAC string }

// Learned returns the learned addresses in the kernel, for a process that starts.
func (k *Tables) Learned() (map[Opened]map[answered.Open]time.Duration, error) {
	sets, err := learnedSets(k.conn, k.inet())
	if err != nil {
		return nil, err
	}
	all := map[Opened]map[answered.Open]time.Duration{}
	for _, s := range sets {
		for _, e := range s.elements {
			mac, address, ok := rules.ParseKey(e.Key)
			addr, valid := netip.AddrFromSlice(address)
			if !ok || !valid || e.Expires <= 0 {
				continue
			}
			at := Opened{s.chain, mac}
			if all[at] == nil {
				all[at] = map[answered.Open]time.Duration{}
			}
			all[at][answered.Open{Group: s.group, Addr: addr}] = e.Expires
		}
	}
	return all, nil
}

// learnedSet is a set of learned addresses in the kernel.
type learnedSet struct {
	chain    string
	group    int
	elements []nftables.SetElement
}

// learnedSets returns the sets of learned addresses of a table; none without the table.
func learnedSets(conn *nflink.Link, t *nftables.Table) (all []learnedSet, err error) {
	sets, err := conn.GetSets(t)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	for _, s := range sets {
		chain, group, ok := rules.ParseLearned(s.Name)
		if !ok {
			continue
		}
		list, err := conn.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("list elements of %s: %w", s.Name, err)
		}
		all = append(all, learnedSet{chain, group, list})
	}
	return all, nil
}
