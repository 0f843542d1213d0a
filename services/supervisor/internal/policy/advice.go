package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Advice returns warnings about the rules of a container, one line each: what in its own ones has no effect,
// and what of the container all rules that apply keep from working: names and published ports.
func Advice(c *container.Config, all Rules) (warnings []string) {
	if all.IsEmpty() {
		return nil
	}
	own := RulesOf(&c.Network)
	warnings = own.Advice()

	if out, err := egress.Parse(all.Egress); err == nil && len(own.Egress) > 0 {
		warnings = append(warnings, unresolved(out, c.DNS.ExtraHosts)...)
	}
	if in, err := egress.ParseIngress(all.Ingress); err == nil && in != nil {
		for _, m := range c.Network.Publish {
			if !slices.ContainsFunc(in, func(r egress.Rule) bool { return !r.Deny && accepts(r, m) }) {
				warnings = append(warnings, fmt.Sprintf(
					"port %s/%s is published, but no rule for incoming traffic allows it", m.Container, m.Protocol))
			}
		}
	}
	return warnings
}

// Advice returns warnings about rules of both directions that have no effect, one line each.
func (r Rules) Advice() (warnings []string) {
	out, _ := egress.Parse(r.Egress)
	in, _ := egress.ParseIngress(r.Ingress)
	for _, line := range out.Advice() {
		warnings = append(warnings, "egress: "+line)
	}
	for _, line := range in.Advice() {
		warnings = append(warnings, "ingress: "+line)
	}
	return warnings
}

// unresolved returns warnings about names that are not resolved, although the rules probably mean that.
// extra is NAME:ADDRESS of hosts.
func unresolved(p egress.Policy, extra []string) (warnings []string) {
	byAddress := func(r egress.Rule) bool { return !r.Deny && r.Kind == egress.Prefix }
	if slices.ContainsFunc(p, byAddress) && !p.HasDomains() && !p.AllowsName("name.example") {
		warnings = append(warnings, "egress: no rule opens names, so that only those of containers are resolved; "+
			"add dns to resolve all names")
	}
	for _, host := range extra {
		name, text, _ := strings.Cut(host, ":")
		at := slices.IndexFunc(p.RulesFor(name), func(r egress.Rule) bool { return !r.Deny })
		a, err := netip.ParseAddr(text)
		if at < 0 || err != nil || slices.ContainsFunc(p, func(r egress.Rule) bool {
			return !r.Deny && r.HasAddress(egress.Target{Addr: a})
		}) {
			continue
		}
		warnings = append(warnings,
			fmt.Sprintf("egress: rule %s does not open %s of --add-host, which is not resolved; "+
				"add a rule for the address", p.RulesFor(name)[at], a))
	}
	return warnings
}

// accepts reports whether a rule for incoming traffic can allow connections to a published port.
func accepts(r egress.Rule, m port.Mapping) bool {
	ports := r.Ports
	if ports.Protocol != "" && string(ports.Protocol) != string(m.Protocol) ||
		ports.Protocol == "" && ports.First != 0 && m.Protocol != port.TCP && m.Protocol != port.UDP {
		return false
	}
	return ports.First == 0 || m.Container.Overlaps(port.Range{First: ports.First, Last: ports.Last})
}

// Missing returns warnings about containers and networks that rules for outgoing traffic name and that do not
// exist. Labels can be those of containers that come later.
func (r Rules) Missing(exists func(kind egress.Kind, name string) bool) (warnings []string) {
	out, _ := egress.Parse(r.Egress)
	for _, peer := range out.Peers() {
		if kind, name, err := egress.ParsePeer(peer); err == nil && kind != egress.Label && !exists(kind, name) {
			warnings = append(warnings, "egress: "+peer+" does not exist yet")
		}
	}
	return warnings
}
