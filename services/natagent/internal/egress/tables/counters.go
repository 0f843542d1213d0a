package tables

import (
	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// Counters returns the sums of the counters of the rules of a container that allow, and of those that
// refuse packets.
func (k *Tables) Counters(c *plan.Plan) (allowed, refused uint64, err error) {
	return counters(k.conn, k.inet(), rules.Chains(c))
}

func counters(conn *nflink.Link, t *nftables.Table, chains []rules.Chain) (allowed, refused uint64, err error) {
	for _, chain := range chains {
		list, err := conn.GetRules(t, &nftables.Chain{Name: chain.Name, Table: t})
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
