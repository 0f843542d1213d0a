package address

import (
	"net"
	"net/netip"
	"sync"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Endpoint creates an endpoint with one address of each family of the network. The MAC is
// derived from the first address unless the spec has one. The interface name is added to names.
func (m *Addresses) Endpoint(
	owner string, n network.Network, spec endpoint.Spec, names map[string]bool,
) (endpoint.Endpoint, error) {
	e := endpoint.Endpoint{ID: id.New(), NetworkID: n.ID, NetworkName: n.Name, Driver: n.Driver,
		Interface:   spec.Interface,
		HostBinding: n.Bridge().HostBinding, Internal: n.Spec.Internal, DNS: n.Spec.DNS,
		Egress: n.Spec.Egress, Limits: n.Spec.Limits, DefaultLimits: m.defaultLimits(), Spec: spec.On(n.ID)}
	if err := e.CheckBandwidth(); err != nil {
		return e, err
	}
	if e.Interface == "" {
		e.Interface = endpoint.FreeInterface(n.Spec.InterfacePrefix, names)
		names[e.Interface] = true
	}

	spec = spec.WithCurrentAddrs(n)
	if err := checkCovered(n, spec); err != nil {
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
			m.Release(endpoint.Sandbox{Owner: owner, Endpoints: []endpoint.Endpoint{e}})
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
func (m *Addresses) allocateFamilies(owner string, n network.Network, spec endpoint.Spec) []allocation {
	families := network.ByFamily(n.Spec.Pools)
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

// allocateFromPools allocates from the pools of one family. A static address selects its pool,
// otherwise the first pool with a free address is used.
func (m *Addresses) allocateFromPools(
	owner string, n network.Network, pools []network.Pool, spec endpoint.Spec,
) (p network.Pool, addr netip.Addr, err error) {
	for _, p := range pools {
		if staticIn(p, spec).IsValid() {
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

// checkCovered returns an error if no subnet of the network contains a static address of the spec.
func checkCovered(n network.Network, spec endpoint.Spec) error {
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
func (m *Addresses) allocateAddress(
	owner string, n network.Network, p network.Pool, spec endpoint.Spec,
) (netip.Addr, error) {
	pool := n.Addresses(p)
	want := staticIn(p, spec)
	if !want.IsValid() {
		return m.allocateProbed(owner, n, p)
	}
	if err := checkOwned(n, p, want); err != nil {
		return want, err
	}

	// An address with a recorded conflict is allocated, but no container has it. A user who requests it
	// gets it if checkConflict finds no conflict any more.
	reserved := m.store.Reservation(owner).Has(n.ID, want)
	if !reserved && (!pool.Usable(want) || !m.conflicts.drop(n.ID, want) && !m.allocator.Claim(n.ID, want, owner)) {
		return want, inUse(n, want)
	}
	if err := m.checkConflict(n, want); err != nil {
		if !reserved {
			m.allocator.Release(n.ID, want)
		}
		return want, err
	}

	return want, nil
}

// checkOwned returns an error if a static address is in no block of this host, because another host of
// the fleet may have it. The error makes Retry claim the address from the fleet and allocate it again.
func checkOwned(n network.Network, p network.Pool, want netip.Addr) error {
	if n.Owns(want) || !n.Addresses(p).Usable(want) {
		return nil
	}
	return &poolExhausted{network.PoolShortage{NetworkID: n.ID, Subnet: p.Subnet, Want: want},
		fault.New(fault.Exhausted, n.Subject(), want.String()+" belongs to no block of this host",
			fault.WithField("ip"))}
}

// inUse returns the fault for a static address that another container has.
func inUse(n network.Network, addr netip.Addr) error {
	return fault.New(fault.Exists, n.Subject(), addr.String()+": Address already in use", fault.WithField("ip"),
		fault.WithHint("choose another address, or leave it to the network"))
}

// Release releases the addresses of a sandbox, except the reserved ones.
func (m *Addresses) Release(sb endpoint.Sandbox) {
	reserved := m.store.Reservation(sb.Owner)
	for _, e := range sb.Endpoints {
		for _, p := range e.AllAddresses() {
			if !reserved.Has(e.NetworkID, p.Addr()) {
				m.allocator.Release(e.NetworkID, p.Addr())
			}
		}
	}
}

// Claim marks the addresses of a stored sandbox as allocated.
func (m *Addresses) Claim(sb endpoint.Sandbox) {
	for _, e := range sb.Endpoints {
		for _, p := range e.AllAddresses() {
			m.allocator.Claim(e.NetworkID, p.Addr(), sb.Owner)
		}
	}
}

// SameHost allocates the address with the same host part as had, if it is free, and falls
// back to allocateFromPools.
func (m *Addresses) SameHost(
	owner string, n network.Network, pools []network.Pool, spec endpoint.Spec, had netip.Addr,
) (network.Pool, netip.Addr, error) {
	want := n.CurrentAddr(had)
	for _, p := range pools {
		if staticIn(p, spec).IsValid() || !n.Addresses(p).Automatic(want) || !m.allocator.Claim(n.ID, want, owner) {
			continue
		}
		host, err := m.claimed(n, want)
		if err == nil && host == "" {
			return p, want, nil
		}
		m.allocator.Release(n.ID, want)
		if err != nil {
			return p, want, err
		}
	}

	return m.allocateFromPools(owner, n, pools, spec)
}

// ReleaseDifference releases the addresses of drop that keep does not have.
func (m *Addresses) ReleaseDifference(keep, drop endpoint.Sandbox) {
	for i, e := range drop.Endpoints {
		for _, p := range endpoint.Difference(e.AllAddresses(), keep.Endpoints[i].AllAddresses()) {
			if !m.store.Reservation(drop.Owner).Has(e.NetworkID, p.Addr()) {
				m.allocator.Release(e.NetworkID, p.Addr())
			}
		}
	}
}
