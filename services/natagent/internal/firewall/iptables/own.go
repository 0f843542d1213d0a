package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// directRules are the rules of a port, or of a run of them, that is open at the container's own address, as iptables-save shows them: one,
// or one for each network that may reach it. What none of them lets through is dropped.
func directRules(b publication.Binding) (rules []string) {
	ports := fmt.Sprintf("%d", b.HostPort)
	if b.IsRange() {
		ports = fmt.Sprintf("%d:%d", b.HostPort, b.HostPortEnd)
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

// ownRulesOf are those of all bindings of a family.
func ownRulesOf(f family, bindings []publication.Binding) (rules []string) {
	for _, b := range bindings {
		if b.Direct() && b.HostIP.Is6() == f.v6 {
			rules = append(rules, directRules(b)...)
		}
	}
	return rules
}

// ownBatch is the text that takes out and adds such bindings of a family.
func ownBatch(f family, gone, fresh []publication.Binding) string {
	var text strings.Builder
	for _, rule := range ownRulesOf(f, gone) {
		text.WriteString("-D " + chainDirect + " " + rule + "\n")
	}
	for _, rule := range ownRulesOf(f, fresh) {
		text.WriteString("-A " + chainDirect + " " + rule + "\n")
	}
	if text.Len() == 0 {
		return ""
	}
	return "*filter\n" + text.String() + "COMMIT\n"
}

// parseOwn reads the binding of such a rule back, but for who may reach it; ok is false for rules of another form.
func parseOwn(f family, rule string) (b publication.Binding, ok bool) {
	b, _ = parseBinding(f, rule)
	b.ContainerIP, b.ContainerPort = b.HostIP, b.HostPort
	return b, target(rule) == "ACCEPT" && b.Protocol.Number() != 0 && b.HostPort != 0 && !b.HostIP.IsUnspecified()
}

// translated are the bindings whose rules translate.
func translated(all []publication.Binding) []publication.Binding {
	return slices.DeleteFunc(slices.Clone(all), publication.Binding.Direct)
}
