package measure

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestGrowableAddresses(t *testing.T) {
	pool := func(subnet, limit string) network.Pool {
		p := network.Pool{Subnet: netip.MustParsePrefix(subnet)}
		if limit != "" {
			p.GrowLimit = netip.MustParsePrefix(limit)
		}
		return p
	}
	networks := []network.Network{
		{Name: "free", Spec: network.Spec{Pools: []network.Pool{pool("172.18.0.0/26", "172.18.0.0/16"),
			pool("fd00::/64", "")}}},
		{Name: "limited", Spec: network.Spec{Pools: []network.Pool{pool("172.19.0.0/26", "172.19.0.0/16")}}},
		{Name: "neighbour", Spec: network.Spec{Pools: []network.Pool{pool("172.19.1.0/24", "")}},
			Status: network.Status{Former: []network.Pool{pool("172.20.0.0/26", "")}}},
		{Name: "below", Spec: network.Spec{Pools: []network.Pool{pool("172.20.0.64/26", "172.20.0.0/16")}}},
		{Name: "largest", Spec: network.Spec{Pools: []network.Pool{pool("172.21.0.0/16", "172.21.0.0/16")}}},
		{Name: "fleet", Scope: network.Global, Spec: network.Spec{
			Pools: []network.Pool{pool("10.128.0.0/24", "")}},
			Status: network.Status{Blocks: []netip.Prefix{netip.MustParsePrefix("10.128.0.64/26")}}},
	}
	want := map[string]float64{"free": 1<<16 - 1<<6, "limited": 1<<8 - 1<<6, "fleet": 1<<8 - 1<<6}
	subnets := sortedSubnets(networks)
	for _, n := range networks {
		for i, p := range n.Spec.Pools {
			wanted := want[n.Name]
			if i > 0 {
				wanted = 0
			}
			if got := growable(n, p, subnets); got != wanted {
				t.Errorf("%s %s: got %v, want %v", n.Name, p.Subnet, got, wanted)
			}
		}
	}
}
