package egress

import (
	"maps"
	"net/netip"

	"github.com/fairlead/fairlead/proto/egress"
)

// Established is the rule of a connection that no rule allows now: its policy did when it began, by an
// address that the container had resolved then.
const Established = "established"

// AllowingRule returns the rule that allows a connection from a container to a destination after DNAT, as
// it is written. It is empty for a source without a policy.
type AllowingRule func(source netip.Addr, protocol uint8, to netip.AddrPort, local bool) string

// AllowingRules returns the present policies as a function. It is not changed by later changes.
func (e *Enforcer) AllowingRules() AllowingRule {
	e.mu.Lock()
	defer e.mu.Unlock()
	type known struct {
		policy egress.Policy
		has    func(egress.Rule, netip.Addr) bool
	}
	sources := map[netip.Addr]*known{}
	for _, c := range e.installed {
		k := &known{c.Policy(), e.has(c.Container, maps.Clone(e.expiry[c.Owner]))}
		for _, a := range c.addresses() {
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
