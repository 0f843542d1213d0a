package measure

import (
	"math"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// sortedSubnets returns the subnets of all networks by address.
func sortedSubnets(networks []network.Network) (all []netip.Prefix) {
	for _, n := range networks {
		for _, p := range n.AllPools() {
			all = append(all, p.Subnet)
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return all
}

// growable returns the number of addresses by which a pool can grow at most: up to its grow limit or the
// next subnet of another network; in a network of all hosts, outside the blocks of this host.
func growable(n network.Network, p network.Pool, subnets []netip.Prefix) float64 {
	if n.IsGlobal() {
		more := addresses(p.Subnet)
		for _, b := range n.Addresses(p).Ranges {
			more -= addresses(b)
		}
		return more
	}

	largest := p
	for {
		larger, ok := largest.Larger(netip.Addr{})
		if !ok || isTaken(larger, p.Subnet, subnets) {
			return addresses(largest.Subnet) - addresses(p.Subnet)
		}
		largest.Subnet = larger
	}
}

// isTaken reports whether another subnet than own lies in larger.
func isTaken(larger, own netip.Prefix, subnets []netip.Prefix) bool {
	at, _ := slices.BinarySearchFunc(subnets, larger.Addr(), func(p netip.Prefix, a netip.Addr) int {
		return p.Addr().Compare(a)
	})
	for ; at < len(subnets) && larger.Contains(subnets[at].Addr()); at++ {
		if !own.Contains(subnets[at].Addr()) {
			return true
		}
	}
	return false
}

func addresses(p netip.Prefix) float64 { return math.Exp2(float64(p.Addr().BitLen() - p.Bits())) }
