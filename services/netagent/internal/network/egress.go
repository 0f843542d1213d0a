package network

import (
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
)

// egressRules returns the rules for outgoing traffic, one an element. It rejects rules that are not valid,
// and networks where they cannot be enforced.
func egressRules(n Network, rules []string) ([]string, error) {
	p, err := egress.Parse(rules)
	switch {
	case err != nil:
		return nil, fault.New(fault.Invalid, n.Subject(), "egress policy is not valid: "+err.Error(),
			fault.WithField("egress"), fault.WithHint("see fairlead policy --help"))
	case p.Restricts() && !slices.Contains([]string{DriverBridge, DriverOverlay, DriverMacvlan, DriverIPvlan},
		n.Driver):
		return nil, fault.New(fault.Invalid, n.Subject(), "egress policy cannot be enforced with driver "+n.Driver,
			fault.WithField("egress"), fault.WithHint("use a bridge network"))
	}
	return p.Strings(), nil
}

// EgressAdvice returns warnings about rules for outgoing traffic that have no effect, one line each.
func (n Network) EgressAdvice() (warnings []string) {
	p, _ := egress.Parse(n.Spec.Egress)
	for _, text := range p.Advice() {
		warnings = append(warnings, "network "+n.Name+": egress: "+text)
	}
	return warnings
}
