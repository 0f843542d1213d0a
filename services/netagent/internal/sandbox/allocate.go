package sandbox

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// allocate allocates the addresses of all endpoints and chooses their interface names and gateways.
func (m *Manager) allocate(req network.Request, nets []store.Network) (network.Sandbox, error) {
	sb := network.Sandbox{Owner: req.Owner, OwnerName: req.OwnerName, Mode: req.Mode, CreatedAt: time.Now().UTC()}
	if req.Mode == network.Private {
		sb.NetnsPath = m.pinOf(req.Owner)
	}

	names := map[string]bool{}
	for _, spec := range req.Endpoints {
		names[spec.Interface] = true
	}

	plain := make([]network.Network, len(nets))
	for i, n := range nets {
		plain[i] = n.Network
		e, err := m.allocateEndpoint(req.Owner, n.Network, req.Endpoints[i], names)
		if err != nil {
			m.releaseAddresses(sb)
			return network.Sandbox{}, err
		}
		sb.Endpoints = append(sb.Endpoints, m.drivers[n.Driver].Complete(n.Network, e))
	}

	sb.Endpoints = network.ChooseGateways(sb.Endpoints, plain)
	return sb, nil
}

// allocateEndpoint creates an endpoint with one address of each family of the network. The MAC is
// derived from the first address unless the spec has one. The interface name is added to names.
func (m *Manager) allocateEndpoint(
	owner string, n network.Network, spec network.EndpointSpec, names map[string]bool,
) (network.Endpoint, error) {
	e := network.Endpoint{ID: id.New(), NetworkID: n.ID, NetworkName: n.Name, Driver: n.Driver,
		Interface:   spec.Interface,
		HostBinding: n.Bridge().HostBinding, Internal: n.Spec.Internal, DNS: n.Spec.DNS, Spec: spec.On(n.ID)}
	if e.Interface == "" {
		e.Interface = network.FreeInterface(n.Spec.InterfacePrefix, names)
		names[e.Interface] = true
	}

	spec = spec.WithCurrentAddrs(n)
	if err := covered(n, spec); err != nil {
		return e, err
	}

	if n.UsesDHCP() {
		e.MAC = network.DHCPClientMAC(n.ID, owner)
	}

	taken := m.allocateFamilies(owner, n, spec)
	for _, t := range taken {
		switch {
		case t.err != nil:
			continue
		case t.addr.Addr().Is6():
			e.IPv6 = t.addr
		default:
			e.IPv4 = t.addr
		}
		if e.MAC == nil {
			e.MAC = network.MACOf(t.addr.Addr())
		}
	}

	for _, t := range taken {
		if t.err != nil {
			m.releaseAddresses(network.Sandbox{Owner: owner, Endpoints: []network.Endpoint{e}})
			return e, t.err
		}
	}

	if spec.MAC != "" {
		e.MAC, _ = net.ParseMAC(spec.MAC) // the request was validated
	}

	return e, nil
}

// allocation is the result of allocating an address of one family.
type allocation struct {
	addr netip.Prefix
	err  error
}

// allocateFamilies allocates an address of each family of the network, IPv4 first. The families run
// concurrently, since each may have to probe the LAN.
func (m *Manager) allocateFamilies(owner string, n network.Network, spec network.EndpointSpec) []allocation {
	families := byFamily(n.Spec.Pools)
	out := make([]allocation, len(families))
	var all sync.WaitGroup
	for i, pools := range families {
		all.Go(func() {
			p, addr, err := m.allocateFromPools(owner, n, pools, spec)
			out[i] = allocation{netip.PrefixFrom(addr, p.Subnet.Bits()), err}
		})
	}
	all.Wait()
	return out
}

// byFamily groups pools by family, IPv4 first. Families without pools are left out.
func byFamily(pools []network.Pool) [][]network.Pool {
	var out [][]network.Pool
	for _, is6 := range []bool{false, true} {
		var some []network.Pool
		for _, p := range pools {
			if p.Subnet.Addr().Is6() == is6 {
				some = append(some, p)
			}
		}
		if len(some) > 0 {
			out = append(out, some)
		}
	}

	return out
}

// allocateFromPools allocates from the pools of one family. A static address selects its pool,
// otherwise the first pool with a free address is used.
func (m *Manager) allocateFromPools(
	owner string, n network.Network, pools []network.Pool, spec network.EndpointSpec,
) (p network.Pool, addr netip.Addr, err error) {
	for _, p := range pools {
		if askedOf(p, spec).IsValid() {
			addr, err := m.allocateAddress(owner, n, p, spec)
			return p, addr, err
		}
	}
	for _, p = range pools {
		if addr, err = m.allocateAddress(owner, n, p, spec); err == nil {
			break
		}
	}
	return p, addr, err
}

// covered returns an error if no subnet of the network contains a static address of the spec.
func covered(n network.Network, spec network.EndpointSpec) error {
	for _, want := range []netip.Addr{spec.IPv4, spec.IPv6} {
		if !want.IsValid() {
			continue
		}
		found := n.UsesDHCPFor(want)
		for _, p := range n.Spec.Pools {
			found = found || p.Subnet.Contains(want)
		}
		if found {
			continue
		}
		outside := fault.New(fault.Invalid, n.Subject(),
			"no configured subnet contains IP address "+want.String(), fault.WithField("ip"))
		if short, ok := n.Short(want); ok {
			return &poolExhausted{short, outside}
		}
		return outside
	}

	return nil
}

// allocateAddress allocates the static address of the spec, or else the address that the owner had
// last or the lowest free one.
func (m *Manager) allocateAddress(
	owner string, n network.Network, p network.Pool, spec network.EndpointSpec,
) (netip.Addr, error) {
	pool := n.Addresses(p)
	want := askedOf(p, spec)
	if !want.IsValid() {
		return m.allocateProbed(owner, n, p)
	}

	reserved := m.store.Reservation(owner).Has(n.ID, want)
	if !reserved && (!pool.Usable(want) || !m.foreign.drop(n.ID, want) && !m.book.Claim(n.ID, want, owner)) {
		return want, inUse(n, want)
	}
	if err := m.checkConflict(n, want); err != nil {
		if !reserved {
			m.book.Release(n.ID, want)
		}
		return want, err
	}

	return want, nil
}

func inUse(n network.Network, addr netip.Addr) error {
	return fault.New(fault.Exists, n.Subject(), addr.String()+": Address already in use", fault.WithField("ip"),
		fault.WithHint("choose another address, or leave it to the network"))
}

// releaseAddresses releases the addresses of a sandbox, except the reserved ones.
func (m *Manager) releaseAddresses(sb network.Sandbox) {
	reserved := m.store.Reservation(sb.Owner)
	for _, e := range sb.Endpoints {
		for _, p := range e.AllAddresses() {
			if !reserved.Has(e.NetworkID, p.Addr()) {
				m.book.Release(e.NetworkID, p.Addr())
			}
		}
	}
}

// markAllocated marks the addresses of a stored sandbox as allocated.
func (m *Manager) markAllocated(sb network.Sandbox) {
	for _, e := range sb.Endpoints {
		for _, p := range e.AllAddresses() {
			m.book.Claim(e.NetworkID, p.Addr(), sb.Owner)
		}
	}
}
