package nftables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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

// queueSkeleton queues the table, sets, chains and rules that are missing or different. It removes
// from have the elements that are removed with their sets.
//
// A table of another version is converted: as long as its chains with hooks stay, each packet
// traverses either all old rules or all new ones. Chains with hooks may be added. Otherwise the table is
// created again, in the same transaction.
func (b *Backend) queueSkeleton(have *contents) (rebuilt bool) {
	t := b.table()
	if have.table != nil && !b.convertible(have) {
		b.conn.DelTable(t)
		*have = contents{}
	}

	if have.table == nil || b.flags&nftables.TableFlagOwner != 0 && have.table.Owner != b.pid {
		b.conn.AddTable(t) // claims it if it exists
	}

	if have.table != nil && b.fits(have) && slices.Equal(have.rules, b.skeletonRules()) {
		return false
	}

	if have.table != nil {
		b.conn.FlushTable(t) // all rules
	}
	b.queueSets(have)
	b.queueChains(t, have)
	b.queueRules(t)
	return true
}

// convertible reports whether the flags and the present chains with hooks are correct, so that sets,
// other chains and rules can be replaced.
func (b *Backend) convertible(have *contents) bool {
	persists := have.table.Flags&nftables.TableFlagPersist != 0
	wanted := hooked(b.skeletonChains())
	return persists == (b.flags&nftables.TableFlagPersist != 0) &&
		!slices.ContainsFunc(hooked(have.chains), func(c string) bool { return !slices.Contains(wanted, c) })
}

// hooked returns the chains with hooks.
func hooked(chains []string) []string {
	return slices.DeleteFunc(slices.Clone(chains), func(text string) bool { return !strings.Contains(text, ": ") })
}

// fits reports whether sets and chains are correct, so that only rules and elements need to be
// written.
func (b *Backend) fits(have *contents) bool {
	return b.convertible(have) && slices.Equal(have.chains, b.skeletonChains()) && len(have.sets) == len(b.sets) &&
		!slices.ContainsFunc(have.sets, func(s *nftables.Set) bool { return !b.hasSet(s) })
}

// hasSet reports whether a set of the kernel is one that this version has.
func (b *Backend) hasSet(s *nftables.Set) bool {
	want, ok := b.sets[s.Name]
	return ok && s.KeyType.Bytes == want.KeyType.Bytes && s.IsMap == want.IsMap && s.Interval == want.Interval &&
		s.DataType.Bytes == want.DataType.Bytes && s.Comment == want.Comment
}

// queueSets queues the removal of other sets, and the missing ones.
func (b *Backend) queueSets(have *contents) {
	kept := map[string]bool{}
	for _, s := range have.sets {
		if kept[s.Name] = b.hasSet(s); kept[s.Name] {
			continue
		}
		b.conn.DelSet(s)
		maps.DeleteFunc(have.elements, func(e element, _ bool) bool { return e.set == s.Name })
	}

	for _, s := range sets(b.table()) {
		if !kept[s.Name] {
			b.sets[s.Name].ID = 0 // get a new ID for this transaction
			_ = b.conn.AddSet(b.sets[s.Name], nil)
		}
	}
}

// queueChains queues the removal of other chains, and the missing ones.
func (b *Backend) queueChains(t *nftables.Table, have *contents) {
	wanted := b.skeletonChains()
	for _, text := range have.chains {
		if !slices.Contains(wanted, text) {
			b.conn.DelChain(&nftables.Chain{Name: text, Table: t})
		}
	}

	for _, c := range chains(b.accept) {
		if k := c.kernel(t); !slices.Contains(have.chains, chainText(k)) {
			b.conn.AddChain(k)
		}
	}
}

// queueRules queues all rules.
func (b *Backend) queueRules(t *nftables.Table) {
	for _, c := range chains(b.accept) {
		for _, r := range c.rules {
			b.conn.AddRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: c.name, Table: t}, Exprs: r.exprs,
				UserData: r.userData()})
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
		for i, r := range c.rules {
			out = append(out, ruleText(c.name, i, r.exprs, r.userData()))
		}
	}
	slices.Sort(out)
	return out
}

// ruleText formats a rule without the values of its counter.
func ruleText(chain string, place int, exprs []expr.Any, userData []byte) string {
	s := fmt.Sprintf("%s %02d %q:", chain, place, userData)
	for _, e := range exprs {
		if _, ok := e.(*expr.Counter); ok {
			e = &expr.Counter{}
		}
		s += fmt.Sprintf(" %T%+v", e, e)
	}
	return s
}
