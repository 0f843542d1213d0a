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
	queueLearned(k.conn, k.inet(), c, write)
	return k.commit()
}

func queueLearned(conn *nflink.Link, t *nftables.Table, c *plan.Plan, write map[answered.Open]time.Duration) {
	for o, left := range write {
		set, key := rules.LearnedSet(t, c, o), []nftables.SetElement{{Key: o.Addr.AsSlice()}}
		timed := []nftables.SetElement{{Key: o.Addr.AsSlice(), Timeout: left}}
		_ = conn.SetAddElements(set, timed) // so that the deletion succeeds
		_ = conn.SetDeleteElements(set, key)
		_ = conn.SetAddElements(set, timed)
	}
}

// Learned returns the learned addresses in the kernel, by short container ID, for a process that starts.
func (k *Tables) Learned() (map[string]map[answered.Open]time.Duration, error) {
	sets, err := k.conn.GetSets(k.inet())
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}

	all := map[string]map[answered.Open]time.Duration{}
	for _, s := range sets {
		short, group, ok := rules.ParseLearned(s.Name)
		if !ok {
			continue
		}
		list, err := k.conn.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("list elements of %s: %w", s.Name, err)
		}
		for _, e := range list {
			if addr, ok := netip.AddrFromSlice(e.Key); ok && e.Expires > 0 {
				if all[short] == nil {
					all[short] = map[answered.Open]time.Duration{}
				}
				all[short][answered.Open{Group: group, Addr: addr}] = e.Expires
			}
		}
	}
	return all, nil
}
