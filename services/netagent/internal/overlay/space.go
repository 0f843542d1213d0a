package overlay

import (
	"net/netip"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// SpaceWarnings returns a function that returns the warnings about a new network in the address space of the fleet.
func SpaceWarnings(c *Controller) func(network.Network) []string {
	return func(n network.Network) []string {
		if v := c.seen.Load(); v != nil {
			return spaceWarnings(n, addressSpace(v.self))
		}
		return nil
	}
}

// addressSpace returns the ranges that networks of the fleet get subnets from; none without a fleet.
func addressSpace(self *fleetv1.OverlaySelf) (all []netip.Prefix) {
	for _, text := range self.GetAddressSpace() {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// spaceWarnings returns a warning for each subnet of a local network that overlaps the address space of the fleet.
func spaceWarnings(n network.Network, space []netip.Prefix) (all []string) {
	if n.IsGlobal() || n.HasParent() {
		return nil
	}
	for _, p := range n.AllPools() {
		for _, s := range space {
			if p.Subnet.Overlaps(s) {
				all = append(all, "subnet "+p.Subnet.String()+" of network "+n.Name+
					" overlaps the fleet's address space "+s.String()+
					": networks of the fleet get no subnet there; choose a subnet outside")
			}
		}
	}
	return all
}
