package egress

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/egress"
)

// Established is the rule of a connection that no rule allows now: its policy did when it began, by an
// address that the container had resolved then.
const Established = "established"

// AllowingRule returns the rules that allow a connection from a container to a destination after DNAT,
// as they are written. It is empty for a source without a policy.
type AllowingRule func(source netip.Addr, protocol uint8, to netip.AddrPort, local bool) string

// AllowingRules returns the present policies as a function. It is not changed by later changes.
func (e *Enforcer) AllowingRules() AllowingRule {
	e.mu.Lock()
	defer e.mu.Unlock()
	type known struct {
		policy  egress.Policy
		learned map[answer]bool
	}
	sources := map[netip.Addr]*known{}
	for _, c := range e.installed {
		k := &known{c.Policy(), map[answer]bool{}}
		for a := range e.expiry[c.Owner] {
			k.learned[a] = true
		}
		for _, a := range c.addresses() {
			sources[a] = k
		}
	}

	return func(source netip.Addr, protocol uint8, to netip.AddrPort, local bool) string {
		k := sources[source]
		if k == nil {
			return ""
		}
		return allowing(k.policy, destination{to.Addr(), protocol, to.Port(), local},
			func(group int, a netip.Addr) bool { return k.learned[answer{group, a}] })
	}
}

// allowing returns the rules of the group that allows a connection.
func allowing(p egress.Policy, to destination, learned func(group int, a netip.Addr) bool) string {
	if p.Restricts() && denies(p, to, learned) {
		return Established
	}
	for i, g := range plan(p) {
		if !g.deny && g.hasPort(to) && g.hasAddress(to, i, learned) {
			return g.text
		}
	}
	return Established
}
