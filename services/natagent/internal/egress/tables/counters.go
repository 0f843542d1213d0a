package tables

import (
	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// Count is a number of packets that a policy allowed and refused.
type Count struct{ Allowed, Refused uint64 }

// Counters returns the packets of a container.
func (k *Tables) Counters(p *plan.Plan) (sum Count, err error) {
	for _, c := range rules.Counters(k.inet(), p) {
		decided, err := packets(k.conn, c.Decided, c.Keys)
		if err != nil {
			return sum, err
		}
		refused, err := packets(k.conn, c.Refused, c.Keys)
		if err != nil {
			return sum, err
		}
		sum.Allowed, sum.Refused = sum.Allowed+decided-min(decided, refused), sum.Refused+refused
	}
	return sum, nil
}

// packets adds up the counters of elements.
func packets(conn *nflink.Link, set *nftables.Set, keys [][]byte) (sum uint64, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	var elements []nftables.SetElement
	for _, key := range keys {
		elements = append(elements, nftables.SetElement{Key: key})
	}
	found, err := conn.FindSetElements(set, elements)
	for _, e := range found {
		if e.Counter != nil {
			sum += e.Counter.Packets
		}
	}
	return sum, err
}
