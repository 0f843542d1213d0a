package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// Sync compares the table with want and changes what differs, in one transaction.
func (b *Backend) Sync(ctx context.Context, want firewall.State) (firewall.Change, error) {
	if err := ctx.Err(); err != nil {
		return firewall.Change{}, err
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	have, err := b.read(ctx)
	if err != nil {
		return firewall.Change{}, err
	}

	if have.table != nil && have.table.Owner != 0 && have.table.Owner != b.pid {
		return firewall.Change{}, fault.New(fault.Busy, subject,
			fmt.Sprintf("is owned by another process (netlink port %d)", have.table.Owner),
			fault.WithHint("stop the other natagent of this network namespace"))
	}

	change := firewall.Change{Rebuilt: b.queueSkeleton(have)}
	elements := desiredElements(want)
	var add, remove []element
	for e := range elements {
		if !have.elements[e] {
			add = append(add, e)
		}
	}

	for e := range have.elements {
		if elements[e] {
			continue
		}
		remove = append(remove, e)
		if bind, ok := e.binding(); ok {
			change.Removed = append(change.Removed, bind)
		}
	}

	port.Sort(change.Removed)
	change.Added = len(add)
	if err := errors.Join(b.queue(remove, true), b.queue(add, false)); err != nil {
		return firewall.Change{}, err
	}
	if err := b.commit(); err != nil {
		return firewall.Change{}, err
	}

	return change, nil
}

// Compare returns what Sync would change.
func (b *Backend) Compare(ctx context.Context, want firewall.State) (firewall.Change, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	have, err := b.read(ctx)
	if err != nil {
		return firewall.Change{}, err
	}
	if have.table != nil && !b.fits(have) {
		*have = contents{}
	}

	change := firewall.Change{Rebuilt: have.table == nil || !slices.Equal(have.rules, b.skeletonRules())}
	elements := desiredElements(want)
	for e := range elements {
		if !have.elements[e] {
			change.Added++
		}
	}

	for e := range have.elements {
		if bind, ok := e.binding(); ok && !elements[e] {
			change.Removed = append(change.Removed, bind)
		}
	}

	port.Sort(change.Removed)
	return change, nil
}

// queueSkeleton queues the table, sets, chains and rules that are missing or different. It clears
// have if the table must be created again.
func (b *Backend) queueSkeleton(have *contents) (rebuilt bool) {
	t := b.table()
	if have.table != nil && !b.fits(have) {
		b.conn.DelTable(t)
		*have = contents{}
	}

	if have.table == nil || b.flags&nftables.TableFlagOwner != 0 && have.table.Owner != b.pid {
		b.conn.AddTable(t) // claims it if it exists
	}

	if have.table == nil {
		rebuilt = true
		for _, s := range b.sets {
			s.ID = 0 // get a new ID for this transaction
			_ = b.conn.AddSet(s, nil)
		}
	}

	if slices.Equal(have.rules, b.skeletonRules()) {
		return rebuilt
	}

	b.queueRules(t, have.table != nil)
	return true
}

// fits reports whether table, sets and chains are correct, so that only rules and elements need to
// be written.
func (b *Backend) fits(have *contents) bool {
	persists := have.table.Flags&nftables.TableFlagPersist != 0
	if persists != (b.flags&nftables.TableFlagPersist != 0) || !slices.Equal(have.chains, b.skeletonChains()) {
		return false
	}
	if len(have.sets) != len(b.sets) {
		return false
	}

	for _, s := range have.sets {
		want, ok := b.sets[s.Name]
		if !ok || s.KeyType.Bytes != want.KeyType.Bytes || s.IsMap != want.IsMap || s.Interval != want.Interval ||
			s.DataType.Bytes != want.DataType.Bytes {
			return false
		}
	}

	return true
}

// queueRules queues all rules, replacing existing ones.
func (b *Backend) queueRules(t *nftables.Table, replace bool) {
	all := chains(b.accept)
	if replace {
		b.conn.FlushTable(t)
	}

	for _, c := range all {
		if !replace {
			b.conn.AddChain(c.kernel(t))
		}
	}

	for _, c := range all {
		for _, exprs := range c.rules {
			b.conn.AddRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: c.name, Table: t}, Exprs: exprs})
		}
	}
}

func (c chain) kernel(t *nftables.Table) *nftables.Chain {
	k := &nftables.Chain{Name: c.name, Table: t, Type: c.kind, Hooknum: c.hook, Priority: c.priority}
	if c.hook != nil {
		policy := nftables.ChainPolicyAccept
		k.Policy = &policy
	}
	return k
}

// skeletonChains returns the chains as text, for comparison.
func (b *Backend) skeletonChains() []string {
	var out []string
	for _, c := range chains(b.accept) {
		out = append(out, chainText(c.kernel(nil)))
	}
	slices.Sort(out)
	return out
}

func chainText(c *nftables.Chain) string {
	if c.Hooknum == nil || c.Priority == nil || c.Policy == nil {
		return c.Name
	}
	return fmt.Sprintf("%s: %s hook %d priority %d policy %d", c.Name, c.Type, *c.Hooknum, *c.Priority, *c.Policy)
}

// skeletonRules returns the rules as text, for comparison.
func (b *Backend) skeletonRules() []string {
	var out []string
	for _, c := range chains(b.accept) {
		for i, exprs := range c.rules {
			out = append(out, ruleText(c.name, i, exprs))
		}
	}
	slices.Sort(out)
	return out
}

func ruleText(chain string, place int, exprs []expr.Any) string {
	s := fmt.Sprintf("%s %02d:", chain, place)
	for _, e := range exprs {
		s += fmt.Sprintf(" %T%+v", e, e)
	}
	return s
}
