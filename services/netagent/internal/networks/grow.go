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

// More extends an exhausted subnet in place, so that existing endpoints keep their addresses. It
// does nothing if the subnet has changed or the network is being deleted. The error is the reason
// why the subnet cannot grow.
func (m *Manager) More(ctx context.Context, short network.PoolShortage) error {
	if n, ok := m.store.Network(short.NetworkID); ok && n.IsGlobal() {
		return m.fleet.More(ctx, short)
	}

	defer m.locks.Edit()()

	have, ok := m.store.Network(short.NetworkID)
	if !ok || have.Status.Deleting {
		return nil // the caller looks up the network again and reports it
	}

	i := slices.IndexFunc(have.Spec.Pools, func(p network.Pool) bool { return p.Subnet == short.Subnet })
	if i < 0 {
		return nil
	}

	p := have.Spec.Pools[i]
	larger, ok := p.Larger(short.Want)
	if !ok {
		return fixedSize(have.Network, p)
	}

	if err := m.checkGrowth(have, p.Subnet, larger); err != nil {
		return err
	}

	_, err := m.edit(ctx, have, network.Update{Subnets: []netip.Prefix{larger}})
	return err
}

// fixedSize returns the error for a subnet that has reached its maximum size.
func fixedSize(n network.Network, p network.Pool) error {
	if !p.GrowLimit.IsValid() {
		return fault.New(fault.Exhausted, n.Subject(), "its subnet has a fixed size")
	}
	return fault.New(fault.Exhausted, n.Subject(), "its subnet has reached its grow limit "+p.GrowLimit.String())
}

// checkGrowth returns an error if networks, host routes or name servers block the growth of a
// subnet.
func (m *Manager) checkGrowth(n store.Network, subnet, larger netip.Prefix) error {
	blocks := func(p netip.Prefix) bool {
		return p.Overlaps(larger) && (!subnet.Contains(p.Addr()) || p.Bits() < subnet.Bits())
	}

	refuse := func(what string, p netip.Prefix) error {
		return fault.New(fault.Exhausted, n.Subject(),
			fmt.Sprintf("the larger subnet %s overlaps %s: %s", larger, what, p),
			fault.WithHint("create a second network with a larger --subnet and connect containers to it"))
	}

	for p, name := range m.ownSubnets() {
		if blocks(p) {
			return refuse("network "+name, p)
		}
	}

	for _, p := range hostPrefixes(m.nameservers()) {
		if blocks(p) {
			return refuse("a name server", p)
		}
	}

	routes, err := m.host.Routes()
	if err != nil {
		return fault.Wrap(err, fault.Internal, "host routes", "cannot be read")
	}

	for _, r := range routes {
		if r.Link != n.Bridge().Device && r.To.Bits() >= shortestRoute && blocks(r.To) {
			return refuse("a host route over "+r.Link, r.To)
		}
	}

	return nil
}
