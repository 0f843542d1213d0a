package networks

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Grow makes a subnet larger in which an address was short, in its place, so that whoever is on the network stays as it is. It does
// nothing if the subnet is another one by now. An error tells why it does not grow.
func (m *Manager) Grow(ctx context.Context, short network.PoolShortage) error {
	m.choosing.Lock()
	defer m.choosing.Unlock()
	have, ok := m.Store.Network(short.NetworkID)
	if !ok || have.Deleting {
		return nil // whoever asked looks for it again, and is told
	}
	i := slices.IndexFunc(have.Pools, func(p network.Pool) bool { return p.Subnet == short.Subnet })
	if i < 0 {
		return nil
	}
	p := have.Pools[i]
	larger, ok := p.Larger(short.Want)
	if !ok {
		return fixedSize(have.Network, p)
	}
	if err := m.inTheWay(have, p.Subnet, larger); err != nil {
		return err
	}
	_, err := m.edit(ctx, have, network.Update{Subnets: []netip.Prefix{larger}})
	return err
}

// fixedSize tells why a subnet stays as it is.
func fixedSize(n network.Network, p network.Pool) error {
	if !p.GrowLimit.IsValid() {
		return fault.New(fault.Exhausted, n.Subject(), "its size was given")
	}
	return fault.New(fault.Exhausted, n.Subject(), "it has all of "+p.GrowLimit.String())
}

// inTheWay tells what keeps a subnet from becoming a larger one: other networks, the host's routes and its name servers.
func (m *Manager) inTheWay(n store.Network, subnet, larger netip.Prefix) error {
	beside := func(p netip.Prefix) bool {
		return p.Overlaps(larger) && (!subnet.Contains(p.Addr()) || p.Bits() < subnet.Bits())
	}
	refuse := func(what string, p netip.Prefix) error {
		return fault.New(fault.Exhausted, n.Subject(), fmt.Sprintf("of the larger %s a part is %s: %s", larger, what, p),
			fault.WithHint("make a second network with a larger --subnet, and connect containers to that"))
	}
	for p, name := range m.ownSubnets() {
		if beside(p) {
			return refuse("network "+name+"'s", p)
		}
	}
	for _, p := range m.nameservers() {
		if beside(p) {
			return refuse("a name server's", p)
		}
	}
	routes, err := m.Host.Routes()
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the host's routes", "cannot be read")
	}
	for _, r := range routes {
		if r.Link != n.Bridge && r.To.Bits() >= shortestRoute && beside(r.To) {
			return refuse("where a route of the host by "+r.Link+" leads", r.To)
		}
	}
	return nil
}
