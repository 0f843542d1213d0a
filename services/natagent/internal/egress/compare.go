package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
)

// read returns the present chains, rules, sets and map elements as text, for comparison with want.
func (k *kernel) read() (string, error) {
	var lines []string
	for _, t := range []*nftables.Table{k.inet(), k.bridge()} {
		chains, err := k.conn.ListChainsOfTableFamily(t.Family)
		if err != nil {
			return "", fmt.Errorf("list chains: %w", err)
		}
		for _, c := range chains {
			if c.Table.Name != TableName {
				continue
			}
			rules, err := k.conn.GetRules(t, c)
			if err != nil {
				return "", fmt.Errorf("list rules of %s: %w", c.Name, err)
			}
			lines = append(lines, fmt.Sprintf("chain %d %s %d rules", t.Family, c.Name, len(rules)))
		}

		sets, err := k.conn.GetSets(t)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return "", fmt.Errorf("list sets: %w", err)
		}
		for _, s := range sets {
			if s.HasTimeout {
				lines = append(lines, "set "+s.Name)
				continue
			}
			list, err := k.conn.GetSetElements(s)
			if err != nil {
				return "", fmt.Errorf("list elements of %s: %w", s.Name, err)
			}
			lines = append(lines, fmt.Sprintf("set %s %d elements", s.Name, starts(list)))
		}
	}

	sort.Strings(lines)
	return strings.Join(lines, "\n"), nil
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
func (k *kernel) want(all []*installed) string {
	var lines []string
	chain := func(t *nftables.Table, name string, rules []rule) {
		lines = append(lines, fmt.Sprintf("chain %d %s %d rules", t.Family, name, len(rules)))
	}
	set := func(s filled, more int) {
		if s.set.HasTimeout {
			lines = append(lines, "set "+s.set.Name)
			return
		}
		lines = append(lines, fmt.Sprintf("set %s %d elements", s.set.Name, starts(s.elements)+more))
	}

	elements := map[string]int{}
	for _, c := range all {
		for _, one := range c.chains() {
			chain(k.inet(), one.name, one.rules)
		}
		for _, s := range c.sets(k.inet(), nil) {
			set(s, 0)
		}
		for _, s := range k.elements(c) {
			elements[s.set.Name] += len(s.elements)
		}
	}
	for peer, prefixes := range k.peers {
		for _, s := range peerSets(k.inet(), peer, prefixes) {
			set(s, 0)
		}
	}

	for name, rules := range baseRules(k.queue) {
		chain(k.inet(), name, rules)
	}
	for _, s := range baseSets(k.inet()) {
		set(s, elements[s.set.Name])
	}
	chains, rules := bridgeChains(k.bridge())
	for i, c := range chains {
		chain(k.bridge(), c.Name, rules[i])
	}
	for _, s := range bridgeSets(k.bridge()) {
		set(s, elements[s.set.Name])
	}

	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// learned returns the learned addresses in the kernel, by short container ID, for a process that starts.
func (k *kernel) learned() (map[string]map[answered.Open]time.Duration, error) {
	sets, err := k.conn.GetSets(k.inet())
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}

	all := map[string]map[answered.Open]time.Duration{}
	for _, s := range sets {
		var generation uint64
		var group, family int
		short, rest, _ := strings.Cut(s.Name, "_")
		if n, _ := fmt.Sscanf(rest, "%d_names%d_%d", &generation, &group, &family); n != 3 {
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
