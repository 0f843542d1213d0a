package egress

import (
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/servers"
	"github.com/fairlead/fairlead/services/natagent/internal/servername"
)

// checkServers sets the container whose packets are checked. now can be nil.
func (e *Enforcer) checkServers(owner string, now *plan.Plan) {
	if now == nil {
		e.servers.Remove(owner)
		return
	}

	c := &servers.Client{Owner: owner, Name: now.Name, Policy: now.Out,
		Addresses: map[netip.Addr]servername.MAC{}}
	for mac := range now.Via {
		c.MACs = append(c.MACs, servername.MAC([]byte(mac)))
	}
	for _, endpoint := range now.Endpoints {
		mac, err := net.ParseMAC(endpoint.MAC)
		if err != nil || now.Via[string(mac)] == nil {
			continue
		}
		for _, a := range endpoint.Addresses {
			c.Addresses[a] = servername.MAC(mac)
		}
	}
	e.servers.Put(c)
}
