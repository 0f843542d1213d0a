package bridge

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// A network that spans hosts has a bridge on each, with the same address. Its containers have the
// whole subnet on-link: the bridge answers for addresses of other hosts. For IPv6 the kernel can do
// that only for single addresses, so containers route the subnet through the bridge.

// answerForOthers makes a bridge answer ARP requests for addresses that are routed through another
// link, without the delay of a proxy.
func (d *Driver) answerForOthers(bridge string) (changes []string, err error) {
	return d.host.ApplySysctls([]kernel.Sysctl{{Path: "net/ipv4/neigh/" + bridge + "/proxy_delay", Value: "0"},
		{Path: "net/ipv4/conf/" + bridge + "/proxy_arp", Value: "1"}})
}

// throughGateway returns the desired interface of an endpoint whose IPv6 subnet is not on-link.
func throughGateway(n network.Network, i kernel.Interface) kernel.Interface {
	i.Addresses = slices.Clone(i.Addresses)
	for j, a := range i.Addresses {
		for _, p := range n.Spec.Pools {
			if a.Addr().Is6() && p.Subnet.Contains(a.Addr()) {
				i.Addresses[j] = netip.PrefixFrom(a.Addr(), a.Addr().BitLen())
				i.Subnets = append(i.Subnets, kernel.GatewayRoute{To: p.Subnet, Gateway: p.Gateway})
			}
		}
	}
	return i
}
