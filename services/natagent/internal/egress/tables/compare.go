package tables

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// Differ reports whether the tables differ from what was written for some containers.
func (k *Tables) Differ(all []*plan.Plan) (bool, error) {
	present, err := k.read()
	if err != nil {
		return false, fault.Wrap(err, fault.Unavailable, "table "+rules.TableName, "cannot be read")
	}
	return present != k.want(all), nil
}

// read returns the present chains, rules, sets and map elements as text, for comparison with want.
func (k *Tables) read() (string, error) {
	var lines []string
	for _, t := range []*nftables.Table{k.inet(), k.bridge()} {
		of, err := present(k.conn, t)
		if err != nil {
			return "", err
		}
		lines = append(lines, of...)
	}

	sort.Strings(lines)
	return strings.Join(lines, "\n"), nil
}

// present returns the chains, rules, sets and map elements of a table as text.
func present(conn *nflink.Link, t *nftables.Table) (lines []string, err error) {
	chains, err := conn.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name != rules.TableName {
			continue
		}
		list, err := conn.GetRules(t, c)
		if err != nil {
			return nil, fmt.Errorf("list rules of %s: %w", c.Name, err)
		}
		lines = append(lines, chainText(t, c.Name, len(list)))
	}

	sets, err := conn.GetSets(t)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	for _, s := range sets {
		if s.HasTimeout {
			lines = append(lines, setText(s, 0))
			continue
		}
		list, err := conn.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("list elements of %s: %w", s.Name, err)
		}
		lines = append(lines, setText(s, starts(list)))
	}
	return lines, nil
}

func chainText(t *nftables.Table, name string, rules int) string {
	return fmt.Sprintf("chain %d %s %d rules", t.Family, name, rules)
}

// setText describes a set. The number of elements with a timeout changes.
func setText(s *nftables.Set, elements int) string {
	if s.HasTimeout {
		return "set " + s.Name
	}
	return fmt.Sprintf("set %s %d elements", s.Name, elements)
}

// starts counts the elements without ends of intervals, which the kernel also returns for an open one.
func starts(list []nftables.SetElement) (n int) {
	for _, e := range list {
		if !e.IntervalEnd {
			n++
		}
	}
	return n
}

// want returns what read returns if nothing is missing.
func (k *Tables) want(all []*plan.Plan) string {
	var lines []string
	chain := func(t *nftables.Table, name string, list []rules.Rule) {
		lines = append(lines, chainText(t, name, len(list)))
	}
	set := func(s rules.Set, more int) { lines = append(lines, setText(s.Set, starts(s.Elements)+more)) }

	elements := map[string]int{}
	for _, c := range all {
		for _, s := range rules.Elements(k.inet(), k.bridge(), c) {
			elements[s.Name] += len(s.Elements)
		}
		for _, d := range rules.Directions() {
			if name := rules.ChainName(c, d); name != "" && k.chains[name] == nil {
				lines = append(lines, "chain "+name+" is not written")
			}
		}
	}
	for name, c := range k.chains {
		lines = append(append(lines, fmt.Sprintf("chain %d %s %d rules", k.inet().Family, name, c.rules)), c.texts...)
	}
	for peer, prefixes := range k.peers {
		for _, s := range rules.PeerSets(k.inet(), peer, prefixes) {
			set(s, 0)
		}
	}

	for name, list := range rules.BaseRules(k.queue) {
		chain(k.inet(), name, list)
	}
	for _, s := range rules.BaseSets(k.inet()) {
		set(s, elements[s.Name])
	}
	chains, lists := rules.BridgeChains(k.bridge())
	for i, c := range chains {
		chain(k.bridge(), c.Name, lists[i])
	}
	for _, s := range rules.BridgeSets(k.bridge()) {
		set(s, elements[s.Name])
	}

	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
