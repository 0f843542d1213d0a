package tables

import (
	"errors"
	"maps"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

// limits holds the names of all that is present in the tables with limits.
type limits struct {
	known  bool // chains and counts are up to date
	tables bool // the tables exist
	chains map[chainKey]int
	counts map[setKey]int // elements
}

// chainKey and setKey identify a chain and a set; their values are numbers of rules and elements.
type (
	chainKey struct {
		family nftables.TableFamily
		name   string
	}
	setKey chainKey
)

func (k *Tables) limitTables() rules.LimitTables {
	table := func(f nftables.TableFamily) *nftables.Table {
		return &nftables.Table{Name: rules.LimitsName, Family: f, Flags: k.flags}
	}
	return rules.LimitTables{Inet: table(nftables.TableFamilyINet), Bridge: table(nftables.TableFamilyBridge)}
}

// WriteLimits writes the limits of all containers, in one transaction. Chains that stay are not written
// again, as they know the connections of their containers, also those of an earlier process.
func (k *Tables) WriteLimits(all []*plan.Container) error {
	if !k.limits.known {
		if err := k.readLimits(); err != nil {
			return err
		}
	}
	if len(all) == 0 && !k.limits.tables {
		return nil
	}

	t := k.limitTables()
	wanted, sets := wantedLimits(t, all)
	present := k.limits.chains
	k.limits = limits{}
	present = k.queueLimitBase(t, present, len(all) == 0)
	if len(all) > 0 {
		k.queueLimits(t, wanted, sets, present)
	}
	if err := k.commit(); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			return fault.New(fault.Unavailable, "nf_tables", "cannot limit connections, packets and bandwidth",
				fault.WithCause(err),
				fault.WithHint("load the modules nft_connlimit and nft_limit (CONFIG_NFT_CONNLIMIT, CONFIG_NFT_LIMIT)"))
		}
		return err
	}
	k.limits = limits{known: true, tables: len(all) > 0, chains: map[chainKey]int{}, counts: map[setKey]int{}}
	k.limits.count(wanted, sets)
	return nil
}

// LimitsDiffer reports whether the tables differ from what was written.
func (k *Tables) LimitsDiffer() (bool, error) {
	if !k.limits.known {
		return true, nil
	}
	written := k.limits
	if err := k.readLimits(); err != nil {
		return false, err
	}
	same := written.tables == k.limits.tables && maps.Equal(written.chains, k.limits.chains) &&
		maps.Equal(written.counts, k.limits.counts)
	return !same, nil
}

// wantedLimits returns all chains, and all sets with their elements.
func wantedLimits(t rules.LimitTables, all []*plan.Container) (chains []rules.TableChain, sets []rules.Set) {
	if len(all) == 0 {
		return nil, nil
	}
	chains, sets = t.Base()
	at := map[setKey]int{}
	for i, s := range sets {
		at[setKey{s.Table.Family, s.Name}] = i
	}
	for _, c := range all {
		chains = append(chains, t.Chains(c)...)
		for _, s := range t.Elements(c) {
			i := at[setKey{s.Table.Family, s.Name}]
			sets[i].Elements = append(sets[i].Elements, s.Elements...)
		}
	}
	return chains, sets
}

func (l *limits) count(chains []rules.TableChain, sets []rules.Set) {
	for _, c := range chains {
		l.chains[chainKey{c.Table.Family, c.Name}] = len(c.Rules)
	}
	for _, s := range sets {
		l.counts[setKey{s.Table.Family, s.Name}] = len(s.Elements)
	}
}

// queueLimitBase queues the tables with what does not belong to one container, unless it is present. It
// returns the chains that are present then. Changed tables are written again.
func (k *Tables) queueLimitBase(t rules.LimitTables, present map[chainKey]int, remove bool) map[chainKey]int {
	chains, sets := t.Base()
	intact := true
	for _, c := range chains {
		n, ok := present[chainKey{c.Table.Family, c.Name}]
		intact = intact && ok && n == len(c.Rules)
	}
	for _, table := range []*nftables.Table{t.Inet, t.Bridge} {
		k.conn.AddTable(table) // so that a deletion succeeds; it also claims the table
		if !intact || remove {
			k.conn.DelTable(table)
		}
		if !intact && !remove {
			k.conn.AddTable(table)
		}
	}
	if intact || remove {
		return present
	}

	for _, s := range sets {
		_ = k.conn.AddSet(s.Set, nil)
	}
	added := map[chainKey]int{}
	for _, c := range chains {
		k.queueChain(c)
		added[chainKey{c.Table.Family, c.Name}] = len(c.Rules)
	}
	return added
}

func (k *Tables) queueChain(c rules.TableChain) {
	k.conn.AddChain(c.Chain)
	queueRules(k.conn, c.Table, c.Name, c.Rules)
}

// queueLimits queues the chains that are not present, all elements, and the removal of other chains.
func (k *Tables) queueLimits(t rules.LimitTables, wanted []rules.TableChain, sets []rules.Set,
	present map[chainKey]int) {
	kept := map[chainKey]bool{}
	for _, c := range wanted {
		key := chainKey{c.Table.Family, c.Name}
		n, ok := present[key]
		kept[key] = true
		switch {
		case !ok:
			k.queueChain(c)
		case n != len(c.Rules):
			k.conn.FlushChain(c.Chain)
			queueRules(k.conn, c.Table, c.Name, c.Rules)
		}
	}

	for _, s := range sets {
		k.conn.FlushSet(s.Set)
		if len(s.Elements) > 0 {
			_ = k.conn.SetAddElements(s.Set, s.Elements)
		}
	}

	tables := map[nftables.TableFamily]*nftables.Table{t.Inet.Family: t.Inet, t.Bridge.Family: t.Bridge}
	var gone []*nftables.Chain
	for key := range present {
		if !kept[key] {
			gone = append(gone, &nftables.Chain{Name: key.name, Table: tables[key.family]})
		}
	}
	for _, c := range gone { // they jump to each other
		k.conn.FlushChain(c)
	}
	for _, c := range gone {
		k.conn.DelChain(c)
	}
}

// readLimits reads what is present.
func (k *Tables) readLimits() error {
	found := limits{known: true, chains: map[chainKey]int{}, counts: map[setKey]int{}}
	t := k.limitTables()
	for _, table := range []*nftables.Table{t.Inet, t.Bridge} {
		chains, err := k.conn.ListChainsOfTableFamily(table.Family)
		if err != nil {
			return readError(err)
		}
		for _, c := range chains {
			if c.Table.Name != rules.LimitsName {
				continue
			}
			list, err := k.conn.GetRules(table, c)
			if err != nil {
				return readError(err)
			}
			found.chains[chainKey{table.Family, c.Name}], found.tables = len(list), true
		}

		sets, err := k.conn.GetSets(table)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return readError(err)
		}
		for _, s := range sets {
			list, err := k.conn.GetSetElements(s)
			if err != nil {
				return readError(err)
			}
			found.counts[setKey{table.Family, s.Name}], found.tables = len(list), true
		}
	}
	k.limits = found
	return nil
}

func readError(err error) error {
	return fault.Wrap(err, fault.Unavailable, "table "+rules.LimitsName, "cannot be read")
}

// LimitRefusals returns the packets that the limit of connections of a container refused.
func (k *Tables) LimitRefusals(c *plan.Container) (n uint64, err error) {
	t := k.limitTables()
	for _, one := range t.Chains(c) {
		if one.Table.Family != nftables.TableFamilyINet {
			continue
		}
		list, err := k.conn.GetRules(one.Table, one.Chain)
		if err != nil {
			return n, err
		}
		for _, r := range list {
			_, refused := rules.Counter(r)
			n += refused
		}
	}
	return n, nil
}
