package sandbox

import (
	"net/netip"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/netagent/ipam"
	"github.com/fairlead/fairlead/services/netagent/network"
)

// lease makes an endpoint with an address from each of the network's pools. The MAC follows the first address, and the first
// interface of a sandbox has its default routes.
func (m *Manager) lease(n network.Network, number int) (network.Endpoint, error) {
	e := network.Endpoint{ID: id.New(), NetworkID: n.ID, NetworkName: n.Name, Interface: network.ContainerInterface(number)}
	for _, p := range n.Pools {
		addr, ok := m.book.Take(n.ID, poolOf(p))
		if !ok {
			m.giveBack(network.Sandbox{Endpoints: []network.Endpoint{e}})
			return e, exhausted(n, p)
		}
		if e.MAC == nil {
			e.MAC = network.MACOf(addr)
		}
		address, gateway := &e.IPv4, &e.Gateway4
		if addr.Is6() {
			address, gateway = &e.IPv6, &e.Gateway6
		}
		*address = netip.PrefixFrom(addr, p.Subnet.Bits())
		if number == 0 {
			*gateway = p.RouteVia()
		}
	}
	return e, nil
}

func poolOf(p network.Pool) ipam.Pool {
	return ipam.Pool{Subnet: p.Subnet, Range: p.Range, Reserved: []netip.Addr{p.Gateway, p.RouteVia()}}
}

func exhausted(n network.Network, p network.Pool) error {
	family := "IPv4"
	if p.Subnet.Addr().Is6() {
		family = "IPv6"
	}
	return fault.New(fault.Exhausted, n.Subject(), "no available "+family+" addresses on this network's address pools: "+n.String(),
		fault.WithHint("remove containers, or give the network a larger subnet"))
}

// giveBack ends the leases of a sandbox.
func (m *Manager) giveBack(sb network.Sandbox) {
	for _, e := range sb.Endpoints {
		for _, p := range e.Addresses() {
			m.book.Return(e.NetworkID, p.Addr())
		}
	}
}

// hold marks the leases of a remembered sandbox as taken.
func (m *Manager) hold(sb network.Sandbox) {
	for _, e := range sb.Endpoints {
		for _, p := range e.Addresses() {
			m.book.Hold(e.NetworkID, p.Addr())
		}
	}
}
