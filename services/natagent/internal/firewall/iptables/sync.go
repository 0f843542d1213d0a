package iptables

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Sync compares the chains with what is wanted and writes those that differ anew, each table in one transaction.
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
	b.networks = nil // until all is as it should be
	for _, f := range b.families {
		have, err := f.read(ctx)
		if err != nil {
			return change, err
		}
		text := difference(f, have, networks, want.Bindings, &change)
		if err := b.restore(ctx, f, text); err != nil {
			return change, err
		}
		if text != "" && b.flavour == Legacy {
			b.watcher.forceSignal() // whoever flushed one table may have flushed the next one meanwhile
		}
	}
	publication.Sort(change.Removed)
	b.networks, b.bindings = networks, make(map[hostPort]publication.Binding, len(want.Bindings))
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
		if difference(f, have, networks, want.Bindings, &change) != "" && change.Added == 0 && len(change.Removed) == 0 {
			change.Rebuilt = true
		}
	}
	publication.Sort(change.Removed)
	return change, nil
}

// difference is what to restore so that a family is as wanted; empty if it is.
func difference(f family, have contents, networks map[string]firewall.Network, bindings []publication.Binding, change *firewall.Change) string {
	var all strings.Builder
	for _, t := range skeleton(f, sortedNetworks(networks)) {
		present := have[t.name]
		var chains, rest strings.Builder
		for _, c := range t.chains {
			same := slices.Equal(present[c.name], c.rules)
			switch c.name {
			case chainDNAT:
				c.rules = bindingRules(f, bindings)
				same = samePorts(f, present[c.name], c.rules, bindings, parseBinding, change) && inOrder(f, present[c.name])
			case chainDirect:
				c.rules = ownRulesOf(f, bindings)
				same = samePorts(f, present[c.name], c.rules, bindings, parseOwn, change)
			case chainSNAT:
				c.rules = leavingRules(f, bindings)
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
		for _, name := range letThroughIn(t) {
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

// acceptSuffix is how rules end that get our bridges past the chains of others while another backend is used. Here they would
// only get them past our own.
const acceptSuffix = "-m comment --comment fairlead -j ACCEPT"

// letThroughIn are the chains of a table that may have such rules.
func letThroughIn(t table) []string {
	if t.name != "filter" {
		return nil
	}
	return []string{"FORWARD", "DOCKER-USER"}
}

// samePorts tells whether the rules of ports need not be written but for their order, and notes what is missing and what is too much.
func samePorts(f family, have, want []string, bindings []publication.Binding, parse parser, change *firewall.Change) bool {
	missing, extra := missingFrom(want, have), missingFrom(have, want)
	change.Added += len(missing)
	if len(extra) > 0 {
		change.Removed = append(change.Removed, wrongTargets(f, extra, bindings, parse)...)
	}
	return len(missing) == 0 && len(extra) == 0
}

// parser reads a binding's rule back; ok is false for rules of another form.
type parser func(f family, rule string) (b publication.Binding, ok bool)

// wrongTargets are the ports of some rules that do not lead where they should. A port that does, though its rule is written
// in another way, with another name or as another version of iptables prints it, is not among them: its connections must
// not be cut.
func wrongTargets(f family, rules []string, bindings []publication.Binding, parse parser) (out []publication.Binding) {
	right := make(map[publication.Binding]bool, len(bindings))
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

// missingFrom are those of all that are not among some, as often as they are not.
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

// put writes what brings the jumps to the top of their chain and takes others into our chains out; false if nothing needs
// to be done. On top, as a rule of somebody else's before them could let through what must be dropped.
func (j jumps) put(have []string, text *strings.Builder) bool {
	n := len(j.rules)
	if len(have) >= n && slices.Equal(have[:n], j.rules) && !slices.ContainsFunc(have[n:], isOurs) {
		return false
	}
	for _, rule := range have {
		if isOurs(rule) {
			text.WriteString("-D " + j.from + " " + rule + "\n")
		}
	}
	for i, rule := range j.rules {
		text.WriteString("-I " + j.from + " " + strconv.Itoa(i+1) + " " + rule + "\n")
	}
	return true
}
