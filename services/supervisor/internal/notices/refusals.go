package notices

import (
	"net"
	"strconv"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
)

// Refused emits the event of the first refusal of a kind. policy is where its rule comes from, empty if no
// rule denies it.
func (n *Notices) Refused(r agents.Refusal, policy string) {
	c, err := n.cfg.Store.GetContainer(r.Owner)
	if err != nil {
		return // it was removed
	}
	direction, peer := "outgoing", "destination"
	if r.Incoming {
		direction, peer = "incoming", "source"
	}
	attributes := []string{"reason", r.Reason, "direction", direction}
	address := r.Address
	if r.Port != 0 && !r.Incoming {
		address = net.JoinHostPort(r.Address, strconv.Itoa(int(r.Port)))
	}
	for _, a := range [][2]string{{peer, address}, {"protocol", r.Protocol}, {"domain", r.Name}, {"rule", r.Rule},
		{"policy", policy}} {
		if a[1] != "" {
			attributes = append(attributes, a[0], a[1])
		}
	}
	if r.Incoming && r.Port != 0 {
		attributes = append(attributes, "port", strconv.Itoa(int(r.Port)))
	}
	n.Emit(c, "refuse", attributes...)
}
