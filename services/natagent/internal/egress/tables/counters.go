package tables

import (
	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

// Counters returns the sums of the counters of the rules of a container that allow, and of those that
// refuse packets.
func (k *Tables) Counters(c *plan.Plan) (allowed, refused uint64, err error) {
	t := k.inet()
	for _, chain := range rules.Chains(c) {
		list, err := k.conn.GetRules(t, &nftables.Chain{Name: chain.Name, Table: t})
		if err != nil {
			return allowed, refused, err
		}
		for _, r := range list {
			a, b := rules.Counters(r)
			allowed, refused = allowed+a, refused+b
		}
	}
	return allowed, refused, nil
}
