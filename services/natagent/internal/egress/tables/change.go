package tables

import (
	"errors"
	"net/netip"
	"time"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

// Rebuild writes both tables again.
//
// The kernel evaluates the rules that were in force when a packet entered a chain with a hook, but looks up the
// elements that are in force at the lookup. While a transaction takes effect, a packet can find the sets of the
// old rules empty, and would pass. So copies of both tables are in force meanwhile.
func (k *Tables) Rebuild(all []*plan.Plan, learned func(owner string) map[answered.Open]time.Duration,
	peers func(string) []netip.Prefix) error {
	k.limits.known = false // another program can have changed them too
	if len(all) > 0 {
		k.name = rules.CopyName
		_ = k.write(all, learned, peers) // without copies, the tables are written even so
		k.name = rules.TableName
	}
	err := k.write(all, learned, peers)
	k.queueDelete(rules.CopyName)
	return errors.Join(err, k.commit())
}

// write writes both tables, in one transaction.
func (k *Tables) write(all []*plan.Plan, learned func(owner string) map[answered.Open]time.Duration,
	peers func(string) []netip.Prefix) error {
	k.peers, k.naming, k.chains = map[string][]netip.Prefix{}, map[string]int{}, map[string]*sharedChain{}
	k.queueDelete(k.name)
	for _, t := range []*nftables.Table{k.inet(), k.bridge()} {
		k.conn.AddTable(t)
	}

	k.queueBase()
	for _, c := range all {
		k.enter(c, peers)
		k.queueElements(c, false)
		k.queueLearned(c, learned(c.Owner))
	}
	return k.commit()
}

// queueDelete queues the deletion of the tables of a name, if there are any.
func (k *Tables) queueDelete(name string) {
	for _, f := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyBridge} {
		t := &nftables.Table{Name: name, Family: f, Flags: k.flags}
		k.conn.AddTable(t) // so that the deletion succeeds; it also claims the table
		k.conn.DelTable(t)
	}
}

// Remove removes all tables.
func (k *Tables) Remove() error {
	for _, name := range []string{rules.TableName, rules.CopyName, rules.LimitsName} {
		k.queueDelete(name)
	}
	return k.commit()
}

// Change is a change of the policy of one container. Either policy can be nil.
type Change struct {
	Old, Now *plan.Plan
	Before   map[answered.Open]time.Duration // addresses that are open for Old
	Learned  map[answered.Open]time.Duration // and for Now
}

// Change writes the policies of containers. If one had a policy, each packet meets the old policy or the new one:
// chains that are missing are written in a transaction before, and addresses that the old one had opened are closed in
// one after. Rebuild explains it: a chain that is added in the transaction in which a packet finds it is empty for this
// packet, and an address that is removed then is not in the set any more.
//
// After an error, a part can be written.
func (k *Tables) Change(all []Change, peers func(string) []netip.Prefix) error {
	fresh, replaced := false, false
	for _, c := range all {
		replaced = replaced || c.Old != nil && c.Now != nil
		if c.Now != nil {
			fresh = k.enter(c.Now, peers) || fresh
		}
	}
	if fresh && replaced {
		if err := k.commit(); err != nil {
			return err
		}
	}

	for _, c := range all {
		if c.Old != nil {
			k.queueElements(c.Old, true)
		}
		if c.Now != nil {
			k.queueElements(c.Now, false)
			k.queueLearned(c.Now, c.Learned)
		}
	}
	if err := k.commit(); err != nil {
		return err
	}
	return k.forget(all)
}

// forget ends the use of old policies after a change.
func (k *Tables) forget(all []Change) error {
	now, queued := time.Now(), false
	for _, c := range all {
		if c.Old == nil {
			continue
		}
		queued = k.queueForget(c) || queued
		k.leave(c.Old, now)
	}
	if k.queueIdle(now) || queued {
		return k.commit()
	}
	return nil
}
