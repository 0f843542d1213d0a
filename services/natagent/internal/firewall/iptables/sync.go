package iptables

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// Sync compares the chains with want and rewrites those that differ, with one transaction per
// table.
func (b *Backend) Sync(ctx context.Context, want firewall.State) (change firewall.Change, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return change, err
	}

	networks := make(map[string]firewall.Network, len(want.Networks))
	for _, n := range want.Networks {
		networks[n.ID] = n
	}

	if err := b.checkIPv6(networks); err != nil {
		return change, err
	}
	defer b.watcher.beginChange()()
	b.networks = nil // until the sync has succeeded
	for _, f := range b.families {
		have, err := f.read(ctx)
		if err != nil {
			return change, err
		}
		text := difference(f, have, scope{sortedNetworks(networks), want.Tunnel}, want.Bindings, &change)
		if err := b.restore(ctx, f, text); err != nil {
			return change, err
		}
		if text != "" && b.flavour == Legacy {
			b.watcher.forceSignal() // another table may have been flushed concurrently
		}
	}

	port.Sort(change.Removed)
	b.networks, b.tunnel = networks, want.Tunnel
	b.bindings = make(map[hostPort]port.Binding, len(want.Bindings))
	for _, bind := range want.Bindings {
		b.bindings[keyOf(bind)] = bind
	}

	return change, nil
}

// Compare returns what Sync would change.
func (b *Backend) Compare(ctx context.Context, want firewall.State) (change firewall.Change, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	networks := make(map[string]firewall.Network, len(want.Networks))
	for _, n := range want.Networks {
		networks[n.ID] = n
	}

	for _, f := range b.families {
		have, err := f.read(ctx)
		if err != nil {
			return change, err
		}
		in := scope{sortedNetworks(networks), want.Tunnel}
		if difference(f, have, in, want.Bindings, &change) != "" && change.Added == 0 &&
			len(change.Removed) == 0 {
			change.Rebuilt = true
		}
	}

	port.Sort(change.Removed)
	return change, nil
}

// difference returns the restore text that brings a family to the desired state; empty if it is
// there.
func difference(f family, have contents, in scope, bindings []port.Binding, change *firewall.Change) string {
	var all strings.Builder
	for _, t := range skeleton(f, in) {
		present := have[t.name]
		var chains, rest strings.Builder
		for _, c := range t.chains {
			same := slices.Equal(present[c.name], c.rules)
			switch c.name {
			case chainDNAT:
				c.rules = bindingRules(f, bindings)
				same = samePorts(f, present[c.name], c.rules, bindings, parseBinding, change) &&
					inOrder(f, present[c.name])
			case chainDirect:
				c.rules = directRulesOf(f, bindings)
				same = samePorts(f, present[c.name], c.rules, bindings, parseDirect, change)
			case chainSNAT:
				c.rules = egressRules(f, bindings)
				same = len(missingFrom(c.rules, present[c.name])) == 0 && len(present[c.name]) == len(c.rules)
			}
			if _, there := present[c.name]; there && same {
				continue
			}
			change.Rebuilt = change.Rebuilt || !c.ofBindings() || present == nil
			c.declare(&chains)
			c.fill(&rest)
		}
		if _, there := present[t.user]; t.user != "" && !there {
			chains.WriteString("-N " + t.user + "\n")
		}
		for _, j := range t.jumps {
			if j.put(present[j.from], &rest) {
				change.Rebuilt = true
			}
		}
		if old := t.otherChains(present); len(old) > 0 {
			change.Rebuilt = true
			removeChains(old, &rest)
		}
		for _, name := range chainsWithAccept(t) {
			for _, rule := range present[name] {
				if strings.HasSuffix(rule, acceptSuffix) {
					rest.WriteString("-D " + name + " " + rule + "\n")
				}
			}
		}
		if chains.Len()+rest.Len() > 0 {
			all.WriteString("*" + t.name + "\n" + chains.String() + rest.String() + "COMMIT\n")
		}
	}

	return all.String()
}

// otherChains returns our chains that this version does not have, in order. An earlier version had
// other names.
func (t table) otherChains(present map[string][]string) (old []string) {
	for _, name := range slices.Sorted(maps.Keys(present)) {
		wanted := name == t.user || slices.ContainsFunc(t.chains, func(c chain) bool { return c.name == name })
		if strings.HasPrefix(name, prefix) && !wanted {
			old = append(old, name)
		}
	}
	return old
}

// removeChains appends the commands that delete chains. Rules of other chains no longer jump there.
func removeChains(names []string, text *strings.Builder) {
	for _, name := range names {
		text.WriteString("-F " + name + "\n")
	}
	for _, name := range names {
		text.WriteString("-X " + name + "\n")
	}
}

// acceptSuffix ends the rules with which another backend passes foreign chains. This backend does
// not need them.
const acceptSuffix = "-m comment --comment fairlead -j ACCEPT"

// chainsWithAccept returns the chains of a table that can have such rules.
func chainsWithAccept(t table) []string {
	if t.name != "filter" {
		return nil
	}
	return []string{"FORWARD", "DOCKER-USER"}
}

// samePorts reports whether the rules are equal apart from their order. It adds the differences to
// change.
func samePorts(f family, have, want []string, bindings []port.Binding, parse parser,
	change *firewall.Change) bool {
	missing, extra := missingFrom(want, have), missingFrom(have, want)
	change.Added += len(missing)
	if len(extra) > 0 {
		change.Removed = append(change.Removed, wrongTargets(f, extra, bindings, parse)...)
	}
	return len(missing) == 0 && len(extra) == 0
}

// parser parses the rule of a binding; ok is false for other rules.
type parser func(f family, rule string) (b port.Binding, ok bool)

// wrongTargets returns the bindings of rules that are not desired. A rule that differs only in the
// container name or the iptables version's format is excluded, because its connections must stay.
func wrongTargets(f family, rules []string, bindings []port.Binding, parse parser) (out []port.Binding) {
	right := make(map[port.Binding]bool, len(bindings))
	for _, b := range bindings {
		b.OwnerName, b.Sources = "", ""
		right[b] = true
	}

	for _, rule := range rules {
		bind, ok := parse(f, rule)
		nameless := bind
		nameless.OwnerName = ""
		if ok && !right[nameless] {
			out = append(out, bind)
		}
	}

	return out
}

// missingFrom returns the elements of all that are not in some, counting duplicates.
func missingFrom(all, some []string) []string {
	count := make(map[string]int, len(some))
	for _, s := range some {
		count[s]++
	}
	var out []string
	for _, s := range all {
		if count[s]--; count[s] < 0 {
			out = append(out, s)
		}
	}
	return out
}

// put appends the commands that move our jumps to the top of the chain and remove duplicates. It
// returns false if there are none. A foreign rule before the jumps could accept packets that must
// be dropped.
func (j jumps) put(have []string, text *strings.Builder) bool {
	n := len(j.rules)
	if len(have) >= n && slices.Equal(have[:n], j.rules) && !slices.ContainsFunc(have[n:], jumpsToUs) {
		return false
	}

	for _, rule := range have {
		if jumpsToUs(rule) {
			text.WriteString("-D " + j.from + " " + rule + "\n")
		}
	}

	for i, rule := range j.rules {
		text.WriteString("-I " + j.from + " " + strconv.Itoa(i+1) + " " + rule + "\n")
	}

	return true
}
