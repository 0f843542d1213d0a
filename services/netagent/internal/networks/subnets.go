package networks

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// choosePools returns the network's pools, with an allocated subnet for each that was not given.
func (m *Manager) choosePools(n network.Network, want network.Draft) ([]network.Pool, error) {
	own, err := m.ownSubnets(), error(nil)
	var foreign []netip.Prefix
	var out []network.Pool

	for _, w := range append(slices.Clone(want.Pools), want.UnassignedPools()...) {
		subnet, limit := w.Subnet, netip.Prefix{}
		if w.IsAuto() {
			if foreign == nil {
				if foreign, err = m.hostSubnets(); err != nil {
					return nil, err
				}
			}
			if subnet, limit, err = m.choose(n, w, slices.Concat(taken(own), foreign)); err != nil {
				return nil, err
			}
		} else if err := checkOverlap(n, subnet, own); err != nil {
			return nil, err
		}
		p := w.Assign(subnet, !n.HasParent())
		p.GrowLimit = limit
		if !p.Gateway.IsValid() && !n.HasParent() {
			return nil, fault.Invalidf(n.Subject(), "subnet", "subnet %s has no free address for the host", subnet)
		}
		out = append(out, p)
	}

	slices.SortStableFunc(out, func(a, b network.Pool) int {
		return a.Subnet.Addr().BitLen() - b.Subnet.Addr().BitLen()
	})

	return out, nil
}

// choose allocates a subnet that overlaps no prefix in taken, with its grow limit.
func (m *Manager) choose(n network.Network, w network.PoolSpec, taken []netip.Prefix) (
	subnet, limit netip.Prefix, err error) {
	want := w.Subnet
	if !want.IsValid() {
		want = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	subnet, limit, ok := m.space().Allocate(want, taken)
	if !ok {
		return subnet, limit, fault.New(fault.Exhausted, n.Subject(),
			"all predefined address pools have been fully subnetted",
			fault.WithHint("delete unused networks, give a --subnet, or configure larger default-address-pools"))
	}
	return subnet, limit, w.Within(n, subnet)
}

// space returns the address pools. The host's unique local IPv6 prefix is derived from the random
// id of the network host, which never changes.
func (m *Manager) space() network.AddressPools {
	host, _ := m.store.NetworkNamed(network.NameHost)
	usual := network.DefaultSpace(host.ID)
	if m.pools == nil {
		return usual
	}
	return m.pools.WithIPv6(usual)
}

// SetDefaults replaces the address pools and default options of new networks, and the limits of new endpoints on
// networks without limits.
func (m *Manager) SetDefaults(pools network.AddressPools, options map[string]map[string]string,
	limits egress.Defaults) {
	defer m.locks.Edit()()
	m.pools, m.options = pools, options
	m.addresses.SetLimits(limits)
}

// ownSubnets returns the subnets of all networks with the network names.
func (m *Manager) ownSubnets() map[netip.Prefix]string {
	out := map[netip.Prefix]string{}
	for _, n := range m.store.Networks() {
		for _, p := range n.AllPools() {
			out[p.Subnet] = n.Name
		}
	}
	return out
}

func taken(own map[netip.Prefix]string) []netip.Prefix {
	var out []netip.Prefix
	for p := range own {
		out = append(out, p)
	}
	return out
}

// shortestRoute is the shortest prefix length that counts as a subnet. VPNs install two /1 routes
// for all addresses.
const shortestRoute = 8

// hostSubnets returns the prefixes that the host uses otherwise: its routes and name servers.
func (m *Manager) hostSubnets() ([]netip.Prefix, error) {
	routes, err := m.host.RoutedPrefixes()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "host routes", "cannot be read")
	}

	out := []netip.Prefix{}
	for _, to := range routes {
		if to.Bits() >= shortestRoute {
			out = append(out, to)
		}
	}

	return append(out, hostPrefixes(m.nameservers())...), nil
}

// hostPrefixes returns the prefixes of single addresses.
func hostPrefixes(all []netip.Addr) (out []netip.Prefix) {
	for _, a := range all {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// checkOverlap rejects a subnet that overlaps another network.
func checkOverlap(n network.Network, subnet netip.Prefix, own map[netip.Prefix]string) error {
	for p, name := range own {
		if p.Overlaps(subnet) {
			return fault.New(fault.Exists, n.Subject(),
				"invalid pool request: Pool overlaps with other one on this address space: "+
					subnet.String()+" and "+p.String()+" of network "+
					name, fault.WithField("subnet"), fault.WithHint("choose another subnet"))
		}
	}
	return nil
}

// Warnings returns a function that returns the warnings of a network. They concern host routes that
// overlap its subnets, and containers with former addresses. The routes are read once.
func (m *Manager) Warnings() func(network.Network) []string {
	overlapped := m.overlapped()
	return func(n network.Network) []string {
		return slices.Concat(overlapped(n), m.formerAddressWarnings(n), shadowed(m, n),
			n.EgressAdvice())
	}
}

// overlapped returns a function that returns the overlap warnings of a network. A network with a
// parent interface shares its subnet with the host intentionally.
func (m *Manager) overlapped() func(network.Network) []string {
	routes, err := m.foreignRoutes()
	if err != nil {
		return func(network.Network) []string { return nil } // creating a network reports the error
	}

	return func(n network.Network) (out []string) {
		if n.HasParent() {
			return nil
		}
		for _, p := range n.AllPools() {
			for _, r := range overlaps(n, p, routes) {
				command := "run fairlead network update --renumber " + n.Name
				if n.IsPredefined() {
					command = "set another bip and run fairlead config reload --renumber"
				}
				out = append(out, "subnet "+p.Subnet.String()+" of network "+n.Name+" overlaps the host's route to "+
					r.To.String()+" by "+r.Link+": one of them is unreachable; change the route, or "+command)
			}
		}
		return out
	}
}

// foreignRoutes returns the host's routes except those to own networks over their bridges. With
// thousands of networks these are the majority.
func (m *Manager) foreignRoutes() (out []kernel.Route, err error) {
	own, known := map[kernel.Route]bool{}, map[netip.Prefix]bool{}
	for _, n := range m.store.Networks() {
		for _, p := range n.HostAddresses() {
			own[kernel.Route{To: p.Masked(), Link: n.Bridge().Device}], known[p.Masked()] = true, true
		}
	}

	routes, err := m.host.RoutesExcept(known)
	for _, r := range routes {
		if r.To.Bits() >= shortestRoute && !own[r] {
			out = append(out, r)
		}
	}

	return out, err
}

// overlaps returns the routes that overlap a pool, except those over the network's own bridge.
func overlaps(n network.Network, p network.Pool, routes []kernel.Route) []kernel.Route {
	return slices.DeleteFunc(slices.Clone(routes), func(r kernel.Route) bool {
		return n.HasParent() || r.Link == n.Bridge().Device || network.IsTunnel(r.Link) ||
			!r.To.Overlaps(p.Subnet)
	})
}

// formerAddressWarnings returns a warning about containers with former addresses. It returns
// nothing while they are being renumbered.
func (m *Manager) formerAddressWarnings(n network.Network) []string {
	if len(n.Status.Former) == 0 || n.Status.Renumbering {
		return nil
	}

	names := map[string]bool{}
	for _, sb := range m.store.SandboxesOn(n.ID) {
		for _, e := range sb.Endpoints {
			if e.NetworkID == n.ID && slices.ContainsFunc(e.Addresses(), n.IsFormer) {
				names[sb.DisplayName()] = true
			}
		}
	}

	if len(names) == 0 {
		return nil
	}

	list := strings.Join(slices.Sorted(maps.Keys(names)), ", ")

	return []string{"containers " + list + " have addresses of former subnets of network " + n.Name +
		": restart them, or run fairlead config reload --renumber"}
}
