package egress

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
)

// Established is the rule of a connection that no rule allows now: its policy did when it began, by an
// address that the container had resolved then.
const Established = "established"

// AllowingRule returns the rule that allows a connection from a container to a destination after DNAT, as
// it is written. It is empty for a source without a policy.
type AllowingRule func(source netip.Addr, protocol uint8, to netip.AddrPort, local bool) string

// AllowingRules returns the present policies as a function. It is not changed by later changes of
// policies, answers and peers.
func (e *Enforcer) AllowingRules() AllowingRule {
	e.mu.Lock()
	defer e.mu.Unlock()
	type known struct {
		policy egress.Policy
		has    func(egress.Rule, netip.Addr) bool
	}
	sources, peers := map[netip.Addr]*known{}, map[string][]netip.Prefix{}
	for _, c := range e.installed {
		for _, peer := range c.Out.Peers() {
			if _, copied := peers[peer]; !copied {
				peers[peer] = e.prefixes(peer)
			}
		}
		book := e.book(c.Owner).Clone()
		k := &known{c.Out, named(c.Out, book.Name,
			has(c, book, func(peer string) []netip.Prefix { return peers[peer] }))}
		for _, a := range c.Addresses() {
			sources[a] = k
		}
	}

	return func(source netip.Addr, protocol uint8, to netip.AddrPort, local bool) string {
		k := sources[source]
		if k == nil || k.policy == nil {
			return ""
		}
		if d := k.policy.Decide(target(protocol, to, local, k.has)); d.Allowed && d.Rule != "" {
			return d.Rule
		}
		return Established
	}
}

// named restricts has to one of several rules with the same ports, whose learned addresses are in one
// set: to those that the last name of the address matches. If none does, or the name is not known after
// a restart, all of them can be meant.
func named(p egress.Policy, name func(netip.Addr) string,
	has func(egress.Rule, netip.Addr) bool) func(egress.Rule, netip.Addr) bool {
	return func(r egress.Rule, a netip.Addr) bool {
		if r.Kind != egress.Domain || !has(r, a) {
			return has(r, a)
		}
		matching := slices.DeleteFunc(p.RulesFor(name(a)), func(o egress.Rule) bool {
			return o.Deny != r.Deny || o.Ports != r.Ports
		})
		return len(matching) == 0 || slices.Contains(matching, r)
	}
}
