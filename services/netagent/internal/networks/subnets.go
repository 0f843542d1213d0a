package networks

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// pools puts each wanted pool on its subnet, chosen if it was not given.
func (m *Manager) pools(n network.Network, want network.Spec) ([]network.Pool, error) {
	ours, err := m.ownSubnets(), error(nil)
	var foreign []netip.Prefix
	var out []network.Pool
	for _, w := range append(slices.Clone(want.Pools), want.UnassignedPools()...) {
		subnet, room := w.Subnet, netip.Prefix{}
		if w.IsAuto() {
			if foreign == nil {
				if foreign, err = m.hostSubnets(); err != nil {
					return nil, err
				}
			}
			if subnet, room, err = m.choose(n, w, slices.Concat(taken(ours), foreign)); err != nil {
				return nil, err
			}
		} else if err := clash(n, subnet, ours); err != nil {
			return nil, err
		}
		p := w.Assign(subnet, !n.HasParent())
		p.GrowLimit = room
		if !p.Gateway.IsValid() && !n.HasParent() {
			return nil, fault.Invalidf(n.Subject(), "subnet", "no address of %s is left for the host", subnet)
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b network.Pool) int { return a.Subnet.Addr().BitLen() - b.Subnet.Addr().BitLen() })
	return out, nil
}

// choose finds a subnet that nobody uses, and room for it to grow in.
func (m *Manager) choose(n network.Network, w network.PoolSpec, taken []netip.Prefix) (subnet, room netip.Prefix, err error) {
	want := w.Subnet
	if !want.IsValid() {
		want = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	subnet, room, ok := m.space().Allocate(want, taken)
	if !ok {
		return subnet, room, fault.New(fault.Exhausted, n.Subject(), "all predefined address pools have been fully subnetted",
			fault.WithHint("delete networks that nobody needs, give a --subnet, or configure larger default-address-pools"))
	}
	return subnet, room, w.Within(n, subnet)
}

// space is where subnets come from. The host's own IPv6 prefix follows an id that is random and stays.
func (m *Manager) space() network.AddressPools {
	host, _ := m.Store.NetworkNamed(network.NameHost)
	usual := network.DefaultSpace(host.ID)
	if m.Space == nil {
		return usual
	}
	return m.Space.WithIPv6(usual)
}

// SetAddressPools changes where the subnets of networks come from that are made from now on, and which options they have that are not given.
func (m *Manager) SetAddressPools(space network.AddressPools, options map[string]map[string]string) {
	m.choosing.Lock()
	defer m.choosing.Unlock()
	m.Space, m.Options = space, options
}

// ownSubnets are the subnets of all networks, by whose they are.
func (m *Manager) ownSubnets() map[netip.Prefix]string {
	out := map[netip.Prefix]string{}
	for _, n := range m.Store.Networks() {
		for _, p := range n.AllPools() {
			out[p.Subnet] = n.Name
		}
	}
	return out
}

func taken(ours map[netip.Prefix]string) []netip.Prefix {
	var out []netip.Prefix
	for p := range ours {
		out = append(out, p)
	}
	return out
}

// shortestRoute is how long a route must be to stand for a network: virtual private networks lay two halves of everything.
const shortestRoute = 8

// hostSubnets are subnets that the host needs for something else: where its routes lead and where its name servers are.
func (m *Manager) hostSubnets() ([]netip.Prefix, error) {
	routes, err := m.Host.RoutedPrefixes()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the host's routes", "cannot be read")
	}
	out := []netip.Prefix{}
	for _, to := range routes {
		if to.Bits() >= shortestRoute {
			out = append(out, to)
		}
	}
	return append(out, m.nameservers()...), nil
}

func (m *Manager) nameservers() (out []netip.Prefix) {
	for _, a := range m.Nameservers() {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// clash refuses a subnet of which another network has a part.
func clash(n network.Network, subnet netip.Prefix, ours map[netip.Prefix]string) error {
	for p, name := range ours {
		if p.Overlaps(subnet) {
			return fault.New(fault.Exists, n.Subject(), "invalid pool request: Pool overlaps with other one on this address space: "+
				subnet.String()+" and "+p.String()+" of network "+name, fault.WithField("subnet"), fault.WithHint("choose another subnet"))
		}
	}
	return nil
}

// Warnings answers what tells of a network which routes of the host overlap its subnets, as one that came later may: what is sent there
// goes one of two ways, and which containers have not gone along with it. The routes are read once.
func (m *Manager) Warnings() func(network.Network) []string {
	overlapped := m.overlapped()
	return func(n network.Network) []string { return append(overlapped(n), m.formerAddressWarnings(n)...) }
}

// overlapped tells of routes that overlap. A network on a link of the host shares its subnet with that on purpose.
func (m *Manager) overlapped() func(network.Network) []string {
	routes, err := m.foreignRoutes()
	if err != nil {
		return func(network.Network) []string { return nil } // whoever makes a network is told
	}
	return func(n network.Network) (out []string) {
		if n.HasParent() {
			return nil
		}
		for _, p := range n.AllPools() {
			for _, r := range overlaps(n, p, routes) {
				how := "fairlead network edit --renumber " + n.Name
				if n.Predefined {
					how = "another bip in the configuration and fairlead config reload --renumber"
				}
				out = append(out, "subnet "+p.Subnet.String()+" of network "+n.Name+" overlaps the host's route to "+r.To.String()+" by "+r.Link+
					": one of them is not reached; move the route, or the network: "+how)
			}
		}
		return out
	}
}

// foreignRoutes are the host's routes but for the ways to our networks by their own bridges, which are nearly all of them where there are
// thousands.
func (m *Manager) foreignRoutes() (out []kernel.Route, err error) {
	own, known := map[kernel.Route]bool{}, map[netip.Prefix]bool{}
	for _, n := range m.Store.Networks() {
		for _, p := range n.HostAddresses() {
			own[kernel.Route{To: p.Masked(), Link: n.Bridge}], known[p.Masked()] = true, true
		}
	}
	routes, err := m.Host.RoutesExcept(known)
	for _, r := range routes {
		if r.To.Bits() >= shortestRoute && !own[r] {
			out = append(out, r)
		}
	}
	return out, err
}

// overlaps are the routes by other links than the network's that overlap a pool of it.
func overlaps(n network.Network, p network.Pool, routes []kernel.Route) []kernel.Route {
	return slices.DeleteFunc(slices.Clone(routes), func(r kernel.Route) bool {
		return n.HasParent() || r.Link == n.Bridge || !r.To.Overlaps(p.Subnet)
	})
}

// formerAddressWarnings tells of containers that have addresses of former subnets, and are not on their way to others.
func (m *Manager) formerAddressWarnings(n network.Network) []string {
	if len(n.Former) == 0 || n.Renumbering {
		return nil
	}
	names := map[string]bool{}
	for _, sb := range m.Store.SandboxesOn(n.ID) {
		for _, e := range sb.Endpoints {
			if e.NetworkID == n.ID && slices.ContainsFunc(e.Addresses(), n.IsFormer) {
				names[sb.DisplayName()] = true
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"containers " + strings.Join(slices.Sorted(maps.Keys(names)), ", ") + " keep addresses that network " + n.Name +
		" had before, and are reached there: restart them, or have them renumbered while they run: fairlead config reload --renumber"}
}
