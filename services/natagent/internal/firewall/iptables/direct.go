package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/port"
)

// directRules returns the rules for direct access to a port or range, in iptables-save format: one,
// or one per allowed source. Other packets are dropped later in the chain.
func directRules(b port.Binding) (rules []string) {
	ports := fmt.Sprintf("%d", b.Host.First)
	if b.IsRange() {
		ports = fmt.Sprintf("%d:%d", b.Host.First, b.Host.Last)
	}

	rule := fmt.Sprintf(`-d %s -p %s -m %s --dport %s -m comment --comment "%s" -j ACCEPT`, single(b.HostIP), b.Protocol, b.Protocol, ports, comment(b))
	if b.Sources == "" {
		return []string{rule}
	}

	for _, from := range b.Sources.Strings() {
		rules = append(rules, "-s "+from+" "+rule)
	}

	return rules
}

// directRulesOf returns the rules for direct access of a family.
func directRulesOf(f family, bindings []port.Binding) (rules []string) {
	for _, b := range bindings {
		if b.Direct() && b.HostIP.Is6() == f.v6 {
			rules = append(rules, directRules(b)...)
		}
	}
	return rules
}

// directBatch returns the restore text that removes and adds rules for direct access of a family.
func directBatch(f family, gone, fresh []port.Binding) string {
	var text strings.Builder
	for _, rule := range directRulesOf(f, gone) {
		text.WriteString("-D " + chainDirect + " " + rule + "\n")
	}
	for _, rule := range directRulesOf(f, fresh) {
		text.WriteString("-A " + chainDirect + " " + rule + "\n")
	}
	if text.Len() == 0 {
		return ""
	}
	return "*filter\n" + text.String() + "COMMIT\n"
}

// parseDirect parses a rule for direct access, except its allowed sources; ok is false for other
// rules.
func parseDirect(f family, rule string) (b port.Binding, ok bool) {
	b, _ = parseBinding(f, rule)
	b.ContainerIP, b.Container = b.HostIP, b.Host
	return b, target(rule) == "ACCEPT" && b.Protocol.Number() != 0 && b.Host.First != 0 && !b.HostIP.IsUnspecified()
}

// translated returns the bindings that need DNAT.
func translated(all []port.Binding) []port.Binding {
	return slices.DeleteFunc(slices.Clone(all), port.Binding.Direct)
}
