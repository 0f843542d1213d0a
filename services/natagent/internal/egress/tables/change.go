package tables

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// Rebuild writes both tables again.
//
// The kernel evaluates the rules that were in force when a packet entered a chain with a hook, but looks up the
// elements that are in force at the lookup. While a transaction takes effect, a packet can find the sets of the
// old rules empty, and those of new ones too: it would pass, or be refused though a rule allows it. So copies of both
// tables are in force meanwhile. Hooks are added after the sets, and sets are deleted after no packet is in a chain
// with a hook.
func (k *Tables) Rebuild(all []*plan.Plan, learned func(owner string) map[answered.Open]time.Duration,
	peers func(string) []netip.Prefix) error {
	k.limits.known = false // another program can have changed them too
	write := func(next func() error) error { return k.write(all, learned, peers, next) }
	together := func() error { return nil }
	if len(all) == 0 || !exists(k.conn, k.inet()) {
		err := write(together)
		k.queueDelete(rules.CopyName)
		return errors.Join(err, k.commit())
	}

	k.name = rules.CopyName
	next := k.commit
	if exists(k.conn, k.inet()) { // of a process that ended meanwhile: it can be all that is in force
		next = together
	}
	err := write(next)
	k.name = rules.TableName
	if err != nil { // without copies, the tables are written even so
		err = write(together)
		k.queueDelete(rules.CopyName)
		return errors.Join(err, k.commit())
	}

	unhook(k.conn, hooks(rules.TableName, k.flags))
	if err := write(k.commit); err != nil {
		return err // the copies stay
	}
	unhook(k.conn, hooks(rules.CopyName, k.flags))
	k.queueDelete(rules.CopyName)
	return k.commit()
}

// hooks returns the chains with hooks, among others, of both tables of a name.
func hooks(name string, flags nftables.TableFlags) []*nftables.Chain {
	inet := rules.BaseChains(&nftables.Table{Name: name, Family: nftables.TableFamilyINet, Flags: flags})
	bridge, _ := rules.BridgeChains(&nftables.Table{Name: name, Family: nftables.TableFamilyBridge, Flags: flags})
	return slices.Concat(inet, bridge)
}

// write writes both tables. next is called before the chains with hooks are queued, so that it can commit the rest.
func (k *Tables) write(all []*plan.Plan, learned func(owner string) map[answered.Open]time.Duration,
	peers func(string) []netip.Prefix, next func() error) error {
	k.peers, k.naming, k.chains = map[string][]netip.Prefix{}, map[string]int{}, map[string]*sharedChain{}
	k.queueDelete(k.name)
	k.queueBase()
	for _, c := range all {
		k.enter(c, peers)
		k.queueElements(c, false)
		k.queueLearned(c, learned(c.Owner))
	}
	if err := next(); err != nil {
		return err
	}
	queueChains(k, true) // from then on the tables are in force
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

// exists reports whether there is a table.
func exists(conn *nflink.Link, t *nftables.Table) bool {
	_, err := conn.ListTableOfFamily(t.Name, t.Family)
	return err == nil
}

// unhook deletes those chains that have hooks, and waits for the packets in them. It does nothing if the kernel
// refuses that, as for chains of another version: then some packets find no sets.
func unhook(conn *nflink.Link, chains []*nftables.Chain) {
	for _, c := range chains {
		if c.Hooknum != nil {
			conn.AddTable(c.Table) // claims it
			conn.AddChain(c)       // so that the deletion succeeds
			conn.FlushChain(c)
			conn.DelChain(c)
		}
	}
	if commit(conn) == nil {
		waitForPackets()
	}
}

// waitForPackets waits until all packets that are in chains now have left them.
func waitForPackets() {
	const (
		waitForCPUs = 1 // MEMBARRIER_CMD_GLOBAL: it waits for an RCU grace period
		enough      = 50 * time.Millisecond
	)
	if _, _, err := unix.Syscall(unix.SYS_MEMBARRIER, waitForCPUs, 0, 0); err != 0 {
		time.Sleep(enough) // a kernel with nohz_full has no such command
	}
}
