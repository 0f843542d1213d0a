package tables

import (
	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

// Count is a number of packets that a policy allowed and refused.
type Count struct{ Allowed, Refused uint64 }

// Counters returns the packets of one container.
func (k *Tables) Counters(p *plan.Plan) (sum Count, err error) {
	sets := rules.CountSets(k.inet())
	for i, keys := range rules.CountKeys(p) {
		if len(keys) == 0 {
			continue
		}
		var elements []nftables.SetElement
		for _, key := range keys {
			elements = append(elements, nftables.SetElement{Key: key})
		}
		allowed, err := k.conn.FindSetElements(sets[i].Allowed, elements)
		if err != nil {
			return sum, err
		}
		refused, err := k.conn.FindSetElements(sets[i].Refused, elements)
		if err != nil {
			return sum, err
		}
		sum.Allowed, sum.Refused = sum.Allowed+packets(allowed), sum.Refused+packets(refused)
	}
	return sum, nil
}

func packets(elements []nftables.SetElement) (sum uint64) {
	for _, e := range elements {
		if e.Counter != nil {
			sum += e.Counter.Packets
		}
	}
	return sum
}
