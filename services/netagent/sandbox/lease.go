package sandbox

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/netagent/network"
	"github.com/fairlead/fairlead/services/netagent/store"
)

// plan leases the addresses and names everything.
func (m *Manager) plan(req network.Request, nets []store.Network) (network.Sandbox, error) {
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
		e, err := m.lease(req.Owner, n.Network, req.Endpoints[i], names)
		if err != nil {
			m.giveBack(sb)
			return network.Sandbox{}, err
		}
		sb.Endpoints = append(sb.Endpoints, m.drivers[n.Driver].Complete(n.Network, e))
	}
	sb.Endpoints = network.ChooseGateways(sb.Endpoints, plain)
	return sb, nil
}

// lease makes an endpoint with an address from each of the network's pools. The MAC follows the first address unless one was
// asked for. Its interface's name is added to those that are taken.
func (m *Manager) lease(owner string, n network.Network, spec network.EndpointSpec, names map[string]bool) (network.Endpoint, error) {
	e := network.Endpoint{ID: id.New(), NetworkID: n.ID, NetworkName: n.Name, Driver: n.Driver, Interface: spec.Interface,
		HostBinding: n.HostBinding, Internal: n.Internal, DNS: n.DNS, Spec: spec.On(n.ID)}
	if e.Interface == "" {
		e.Interface = network.FreeInterface(n.Prefix, names)
		names[e.Interface] = true
	}
	spec = spec.Today(n)
	if err := covered(n, spec); err != nil {
		return e, err
	}
	if n.Leased() {
		e.MAC = network.LeasedMAC(n.ID, owner)
	}
	taken := m.takeEach(owner, n, spec)
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
			m.giveBack(network.Sandbox{Owner: owner, Endpoints: []network.Endpoint{e}})
			return e, t.err
		}
	}
	if spec.MAC != "" {
		e.MAC, _ = net.ParseMAC(spec.MAC) // the request was validated
	}
	return e, nil
}

// taken is what has become of leasing an address of one family.
type taken struct {
	addr netip.Prefix
	err  error
}

// takeEach leases an address of each family that a network has, IPv4 first. The families go side by side, as the LAN may have to be asked
// for each.
func (m *Manager) takeEach(owner string, n network.Network, spec network.EndpointSpec) []taken {
	families := byFamily(n.Pools)
	out := make([]taken, len(families))
	var all sync.WaitGroup
	for i, pools := range families {
		all.Go(func() {
			p, addr, err := m.takeFrom(owner, n, pools, spec)
			out[i] = taken{netip.PrefixFrom(addr, p.Subnet.Bits()), err}
		})
	}
	all.Wait()
	return out
}

// byFamily are the pools of each family that there are any of, IPv4 first.
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

// takeFrom leases an address from the pools of one family: from that which has the one that is asked for, or from the first that has a
// free one.
func (m *Manager) takeFrom(owner string, n network.Network, pools []network.Pool, spec network.EndpointSpec) (p network.Pool, addr netip.Addr, err error) {
	for _, p := range pools {
		if askedOf(p, spec).IsValid() {
			addr, err := m.take(owner, n, p, spec)
			return p, addr, err
		}
	}
	for _, p = range pools {
		if addr, err = m.take(owner, n, p, spec); err == nil {
			break
		}
	}
	return p, addr, err
}

// covered tells whether the network has a subnet for each address that is asked for.
func covered(n network.Network, spec network.EndpointSpec) error {
	for _, want := range []netip.Addr{spec.IPv4, spec.IPv6} {
		if !want.IsValid() {
			continue
		}
		found := n.Leases(want)
		for _, p := range n.Pools {
			found = found || p.Subnet.Contains(want)
		}
		if found {
			continue
		}
		outside := fault.New(fault.Invalid, n.Subject(), "no configured subnet contains IP address "+want.String(), fault.WithField("ip"))
		if short, ok := n.Short(want); ok {
			return &shortage{short, outside}
		}
		return outside
	}
	return nil
}

// take leases the address that is asked for, or else the one that the owner had last, or the lowest free one.
func (m *Manager) take(owner string, n network.Network, p network.Pool, spec network.EndpointSpec) (netip.Addr, error) {
	pool := n.Addresses(p)
	want := askedOf(p, spec)
	if !want.IsValid() {
		return m.takeUnclaimed(owner, n, p)
	}
	reserved := m.store.Reservation(owner).Has(n.ID, want)
	if !reserved && (!pool.Usable(want) || !m.foreign.drop(n.ID, want) && !m.book.Hold(n.ID, want)) {
		return want, inUse(n, want)
	}
	if err := m.checkClaim(n, want); err != nil {
		if !reserved {
			m.book.Return(n.ID, want)
		}
		return want, err
	}
	return want, nil
}

func inUse(n network.Network, addr netip.Addr) error {
	return fault.New(fault.Exists, n.Subject(), addr.String()+": Address already in use", fault.WithField("ip"),
		fault.WithHint("choose another address, or leave it to the network"))
}

// giveBack ends the leases of a sandbox. What is reserved for its owner stays taken.
func (m *Manager) giveBack(sb network.Sandbox) {
	reserved := m.store.Reservation(sb.Owner)
	for _, e := range sb.Endpoints {
		for _, p := range e.All() {
			if !reserved.Has(e.NetworkID, p.Addr()) {
				m.book.Return(e.NetworkID, p.Addr())
			}
		}
	}
}

// hold marks the leases of a remembered sandbox as taken.
func (m *Manager) hold(sb network.Sandbox) {
	for _, e := range sb.Endpoints {
		for _, p := range e.All() {
			m.book.Hold(e.NetworkID, p.Addr())
		}
	}
}
