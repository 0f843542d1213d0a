package hostfirewall

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// ruleset holds the foreign nf_tables tables with input chains, as of one generation.
type ruleset struct {
	generation uint32           // number of the last transaction
	tables     map[bool][]table // by IPv4 (true) and IPv6
	reached    map[string]bool  // the chains reachable from input chains, by chainKey
}

const (
	readTries = 10
	readPause = 20 * time.Millisecond
	dormant   = 1 // NFT_TABLE_F_DORMANT
)

var families = map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
	nftables.TableFamilyINet: "inet"}

func chainKey(family nftables.TableFamily, table, chain string) string {
	return fmt.Sprintf("%d %s %s", family, table, chain)
}

// readRuleset reads the ruleset. It needs several requests and repeats them if the rules change
// meanwhile.
func readRuleset(ctx context.Context, link *nflink.Link, own string) (*ruleset, error) {
	var last error
	for range readTries {
		before, err := link.GetGen()
		if err != nil {
			return nil, err
		}
		rs, err := readOnce(link, own)
		after, gerr := link.GetGen()
		if err == nil && gerr == nil && before.ID == after.ID {
			rs.generation = before.ID
			return rs, nil
		}
		last = err
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(readPause):
		}
	}

	return nil, fmt.Errorf("ruleset keeps changing: %w", last)
}

func readOnce(link *nflink.Link, own string) (*ruleset, error) {
	rs := &ruleset{tables: map[bool][]table{}, reached: map[string]bool{}}
	all, err := link.ListChains()
	if err != nil {
		return nil, err
	}

	dormantByKey, err := dormantTables(link)
	if err != nil {
		return nil, err
	}

	byTable, order := map[string][]*nftables.Chain{}, []string{}
	for _, c := range all {
		key := chainKey(c.Table.Family, c.Table.Name, "")
		if families[c.Table.Family] == "" || c.Table.Name == own || strings.HasPrefix(c.Table.Name, own+"-") ||
			dormantByKey[key] {
			continue
		}
		if byTable[key] == nil {
			order = append(order, key)
		}
		byTable[key] = append(byTable[key], c)
	}

	for _, key := range order {
		if err := rs.add(link, byTable[key]); err != nil {
			return nil, err
		}
	}

	return rs, nil
}

// dormantTables returns the tables that are disabled.
func dormantTables(link *nflink.Link) (map[string]bool, error) {
	tables, err := link.ListTables()
	dormantByKey := map[string]bool{}
	for _, t := range tables {
		if t.Flags&dormant != 0 {
			dormantByKey[chainKey(t.Family, t.Name, "")] = true
		}
	}
	return dormantByKey, err
}

// isInput reports whether a chain is a base chain at the input hook.
func isInput(c *nftables.Chain) bool {
	return c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookInput
}

// add reads the chains of a table that are reachable from its input chains.
func (rs *ruleset) add(link *nflink.Link, chains []*nftables.Chain) error {
	family := chains[0].Table.Family
	t := table{family: families[family], name: chains[0].Table.Name, chains: map[string]*chain{}}
	byName := map[string]*nftables.Chain{}
	var next []string
	for _, c := range chains {
		if byName[c.Name] = c; isInput(c) {
			next = append(next, c.Name)
		}
	}

	if len(next) == 0 {
		return nil
	}

	for len(next) > 0 {
		name := next[0]
		next = next[1:]
		if byName[name] == nil || t.chains[name] != nil {
			continue
		}
		c, err := readChain(link, byName[name])
		if err != nil {
			return err
		}
		t.chains[name] = c
		rs.reached[chainKey(family, t.name, name)] = true
		next = append(next, targets(c.rules)...)
	}

	if family != nftables.TableFamilyIPv6 {
		rs.tables[true] = append(rs.tables[true], t)
	}
	if family != nftables.TableFamilyIPv4 {
		rs.tables[false] = append(rs.tables[false], t)
	}

	return nil
}

func readChain(link *nflink.Link, kernel *nftables.Chain) (*chain, error) {
	c := &chain{base: isInput(kernel), policy: accept}
	if kernel.Policy != nil && *kernel.Policy == nftables.ChainPolicyDrop {
		c.policy = drop
	}

	rules, err := link.Rules(kernel.Table.Family, kernel.Table.Name, kernel.Name)
	if err != nil {
		return nil, err
	}

	sets := func(name string) (*set, error) {
		if !isAnonymous(name) {
			return nil, nil // its elements can change
		}
		return readSet(link, kernel.Table, name)
	}

	for _, exprs := range rules {
		some, err := compile(kernel.Table.Family, exprs, sets)
		if err != nil {
			return nil, err
		}
		c.rules = append(c.rules, some...)
	}

	return c, nil
}

// affectedBy reports whether a change may affect the ruleset.
func (rs *ruleset) affectedBy(changes []nfevents.Change) bool {
	return slices.ContainsFunc(changes, func(c nfevents.Change) bool {
		family := nftables.TableFamily(c.Family)
		switch c.Kind {
		case nfevents.Table:
			return families[family] != "" && rs.has(family, c.Table) // it may be dormant or deleted
		case nfevents.Chain:
			return families[family] != "" && c.Base && c.Hook == unix.NF_INET_LOCAL_IN ||
				rs.reached[chainKey(family, c.Table, c.Chain)]
		case nfevents.Rule:
			return rs.reached[chainKey(family, c.Table, c.Chain)]
		}
		return false
	})
}

func (rs *ruleset) has(family nftables.TableFamily, name string) bool {
	for _, some := range rs.tables {
		for _, one := range some {
			if one.name == name && one.family == families[family] {
				return true
			}
		}
	}
	return false
}
