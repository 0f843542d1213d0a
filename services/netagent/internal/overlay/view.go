package overlay

import (
	"encoding/hex"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/proto/tunnel"
	"github.com/fairlead/fairlead/services/netagent/internal/encryption"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

// view is the state of the fleet as this host knows it. It performs no I/O.
type view struct {
	self     *fleetv1.OverlaySelf // nil: no fleet
	hosts    map[string]*fleetv1.OverlayHost
	networks map[string]*fleetv1.OverlayNetwork
	blocks   map[netip.Prefix]*fleetv1.OverlayBlock
}

func newView() *view {
	return &view{hosts: map[string]*fleetv1.OverlayHost{}, networks: map[string]*fleetv1.OverlayNetwork{},
		blocks: map[netip.Prefix]*fleetv1.OverlayBlock{}}
}

// with returns the view after a message. The former one is not changed.
func (v *view) with(m *fleetv1.WatchOverlayResponse) *view {
	next := newView()
	if !m.GetReset_() {
		next = &view{self: v.self, hosts: maps.Clone(v.hosts), networks: maps.Clone(v.networks),
			blocks: maps.Clone(v.blocks)}
	}
	if m.GetSelf() != nil {
		next.self = m.GetSelf()
	}

	for _, id := range m.GetRemovedHosts() {
		delete(next.hosts, id)
	}
	for _, h := range m.GetHosts() {
		next.hosts[h.GetId()] = h
	}

	for _, id := range m.GetRemovedNetworks() {
		delete(next.networks, id)
	}
	for _, n := range m.GetNetworks() {
		next.networks[n.GetId()] = n
	}

	for _, text := range m.GetRemovedBlocks() {
		if p, err := netip.ParsePrefix(text); err == nil {
			delete(next.blocks, p)
		}
	}
	for _, b := range m.GetBlocks() {
		if p, err := netip.ParsePrefix(b.GetPrefix()); err == nil {
			next.blocks[p.Masked()] = b
		}
	}

	return next
}

// own returns the blocks of this host in a network, sorted.
func (v *view) own(networkID string) (all []netip.Prefix) {
	for p, b := range v.blocks {
		if b.GetNetworkId() == networkID && b.GetHostId() == v.self.GetHostId() {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// peer is another host with blocks.
type peer struct {
	host   *fleetv1.OverlayHost
	addr   netip.Addr // its underlay address
	mac    net.HardwareAddr
	hop    netip.Addr // link-local next hop of IPv6
	blocks []netip.Prefix
}

// peers returns the other hosts with blocks in some networks, sorted by ID. Hosts with records that
// cannot be used are left out.
func (v *view) peers(networks map[string]bool) []peer {
	byHost := map[string][]netip.Prefix{}
	for p, b := range v.blocks {
		if networks[b.GetNetworkId()] && b.GetHostId() != v.self.GetHostId() {
			byHost[b.GetHostId()] = append(byHost[b.GetHostId()], p)
		}
	}

	var all []peer
	for _, id := range slices.Sorted(maps.Keys(byHost)) {
		host, ok := v.hosts[id]
		if !ok {
			continue // it was removed
		}
		addr, err := netip.ParseAddr(host.GetAddress())
		mac, hop, idErr := linkAddresses(id)
		if err != nil || idErr != nil {
			continue
		}
		slices.SortFunc(byHost[id], netip.Prefix.Compare)
		all = append(all, peer{host, addr.Unmap(), mac, hop, byHost[id]})
	}

	return all
}

// encrypted returns what the encrypted tunnels depend on: all other hosts with their keys, and the
// blocks of networks that are encrypted. Hosts with records that cannot be used are left out.
func (v *view) encrypted(up tunneled) encryption.View {
	out := encryption.View{Fleet: v.self.GetFleetId(), Needed: len(up.encrypted) > 0, IPv6: up.ipv6}
	if v.self.GetRemoved() {
		out.Fleet = ""
	}
	own, _ := netip.ParseAddr(v.self.GetAddress())
	out.MTU = underlayMTU(v.self) - tunnel.Overhead(true, own.Is6())

	blocks := map[string][]netip.Prefix{}
	for _, p := range v.peers(up.encrypted) {
		blocks[p.host.GetId()] = p.blocks
	}
	for _, id := range slices.Sorted(maps.Keys(v.hosts)) {
		addr, err := netip.ParseAddr(v.hosts[id].GetAddress())
		if err != nil || id == v.self.GetHostId() {
			continue
		}
		out.Hosts = append(out.Hosts, encryption.Host{ID: id, Address: addr.Unmap(),
			Keys: keysFromProto(v.hosts[id].GetTunnelKeys()), Blocks: blocks[id]})
	}
	return out
}

// hasEncrypted reports whether the fleet has a network that is encrypted.
func (v *view) hasEncrypted() bool {
	for _, n := range v.networks {
		if n.GetEncrypted() && !n.GetDeleted() {
			return true
		}
	}
	return false
}

// keysFromProto converts the keys of a host, at most one of a generation. Invalid ones are left out.
func keysFromProto(all []*fleetv1.TunnelKey) (out []tunnelkey.Public) {
	for _, k := range all {
		known := slices.ContainsFunc(out, func(p tunnelkey.Public) bool { return p.Generation == k.GetGeneration() })
		if len(k.GetPublicKey()) == len(tunnelkey.Key{}) && k.GetGeneration() > 0 && k.GetPort() > 0 &&
			k.GetPort() <= math.MaxUint16 && !known {
			out = append(out, tunnelkey.Public{Generation: k.GetGeneration(), Key: tunnelkey.Key(k.GetPublicKey()),
				Port: uint16(k.GetPort())})
		}
	}
	return out
}

func keysToProto(all []tunnelkey.Public) (out []*fleetv1.TunnelKey) {
	for _, k := range all {
		out = append(out, &fleetv1.TunnelKey{Generation: k.Generation, PublicKey: k.Key[:], Port: uint32(k.Port)})
	}
	return out
}

// linkAddresses derives the hardware address and the link-local address of a host's tunnel from the
// ID of the host.
func linkAddresses(hostID string) (net.HardwareAddr, netip.Addr, error) {
	b, err := hex.DecodeString(hostID)
	if err != nil || len(b) != 8 {
		return nil, netip.Addr{}, fault.New(fault.Internal, "host "+hostID, "is not a valid ID of a host")
	}

	mac := net.HardwareAddr(slices.Clone(b[:6]))
	mac[0] = mac[0]&^1 | 2 // unicast, locally administered
	addr := [16]byte{0xfe, 0x80}
	copy(addr[8:], b)
	return mac, netip.AddrFrom16(addr), nil
}

// networkFromProto converts the record of a network of the fleet.
func networkFromProto(o *fleetv1.OverlayNetwork) (network.Network, error) {
	want := network.Draft{ID: o.GetId(), Name: o.GetName(), Driver: network.DriverOverlay, Internal: o.GetInternal(),
		Labels: o.GetLabels(), Options: o.GetOptions()}
	for _, text := range o.GetDns() {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return network.Network{}, fault.Invalidf("network "+o.GetName(), "dns", "%q is not a valid address", text)
		}
		want.DNS = append(want.DNS, addr)
	}

	n, err := want.Build()
	if err != nil {
		return n, err
	}

	n.CreatedAt, n.Spec.MTU, n.Spec.Encrypted = o.GetCreatedAt().AsTime(), int(o.GetMtu()), o.GetEncrypted()
	for _, p := range o.GetPools() {
		pool, err := poolFromProto(n, p)
		if err != nil {
			return n, err
		}
		n.Spec.Pools = append(n.Spec.Pools, pool)
	}

	slices.SortStableFunc(n.Spec.Pools, func(a, b network.Pool) int {
		return a.Subnet.Addr().BitLen() - b.Subnet.Addr().BitLen()
	})
	return n, nil
}

func poolFromProto(n network.Network, p *fleetv1.OverlayPool) (network.Pool, error) {
	bad := func(text string) (network.Pool, error) {
		return network.Pool{}, fault.Invalidf(n.Subject(), "subnet", "%q is not valid", text)
	}

	var spec network.PoolSpec
	var err error
	if spec.Subnet, err = netip.ParsePrefix(p.GetSubnet()); err != nil {
		return bad(p.GetSubnet())
	}
	if p.GetIpRange() != "" {
		if spec.Range, err = netip.ParsePrefix(p.GetIpRange()); err != nil {
			return bad(p.GetIpRange())
		}
	}
	if p.GetGateway() != "" {
		if spec.Gateway, err = netip.ParseAddr(p.GetGateway()); err != nil {
			return bad(p.GetGateway())
		}
	}
	for name, text := range p.GetAuxAddresses() {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return bad(text)
		}
		if spec.Aux == nil {
			spec.Aux = map[string]netip.Addr{}
		}
		spec.Aux[name] = addr
	}
	if err := spec.Within(n, spec.Subnet); err != nil {
		return network.Pool{}, err
	}
	return spec.Assign(spec.Subnet, true), nil
}

// networkToProto converts a requested network. Pools without a subnet get one.
func networkToProto(n network.Network, pools []network.PoolSpec) *fleetv1.OverlayNetwork {
	out := &fleetv1.OverlayNetwork{Id: n.ID, Name: n.Name, Internal: n.Spec.Internal,
		Encrypted: n.Spec.Encrypted, Mtu: uint32(n.Spec.MTU), Labels: n.Spec.Labels, Options: n.Spec.Options}
	for _, a := range n.Spec.DNS {
		out.Dns = append(out.Dns, a.String())
	}

	for _, p := range pools {
		pool := &fleetv1.OverlayPool{}
		if !p.IsAuto() {
			pool.Subnet = p.Subnet.String()
		}
		if p.Range.IsValid() {
			pool.IpRange = p.Range.String()
		}
		if p.Gateway.IsValid() {
			pool.Gateway = p.Gateway.String()
		}
		for name, a := range p.Aux {
			if pool.AuxAddresses == nil {
				pool.AuxAddresses = map[string]string{}
			}
			pool.AuxAddresses[name] = a.String()
		}
		out.Pools = append(out.Pools, pool)
	}

	return out
}
