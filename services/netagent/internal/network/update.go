package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
)

// Update is what is to be different about a network. What is nil or empty stays.
type Update struct {
	MTU        *int
	Subnets    []netip.Prefix    // larger ones, each in the place of one that lies in it; others as IPv6 and Renumber allow
	Labels     map[string]string // one with an empty value is taken off
	DNS        *[]netip.Addr
	IPv6       bool                          // there is to be IPv6
	GrowLimits map[netip.Prefix]netip.Prefix // of subnets that were chosen: as far as they grow
	Renumber   bool                          // a subnet may be another one than before, and containers get new addresses
}

// Apply makes the changed network, or tells what is wrong with the change.
func (e Update) Apply(n Network) (Network, error) {
	if n.Predefined {
		return n, fault.New(fault.Denied, n.Subject(), "is pre-defined and cannot be edited", fault.WithHint("change the configuration, /etc/fairlead/daemon.json"))
	}
	if n.ConfigOnly {
		return n, fault.New(fault.Invalid, n.Subject(), "holds a configuration for others only, which is read when they are made", fault.WithHint("edit the networks that were made of it"))
	}
	if n.UsesDHCP() && (len(e.Subnets) > 0 || e.IPv6 || e.Renumber) {
		return n, fault.New(fault.Invalid, n.Subject(), "has its addresses from the LAN, whose servers say where they are", fault.WithField("subnet"),
			fault.WithHint("change it there; containers follow when they renew their leases"))
	}
	pools := slices.Clone(n.Pools)
	for _, s := range e.Subnets {
		var err error
		if pools, err = e.place(n, pools, s); err != nil {
			return n, err
		}
	}
	next, err := n.WithPools(pools)
	if err != nil {
		return n, err
	}
	next.Renumbering = n.Renumbering || e.Renumber && len(next.Former) > 0
	if e.MTU != nil {
		next.MTU = *e.MTU
	}
	if least := leastMTU(next.HasIPv6()); (e.MTU != nil || next.MTU != 0) && (next.MTU < least || next.MTU > maxMTU) {
		return n, fault.Invalidf(n.Subject(), "mtu", "invalid MTU number: %d; it must be from %d to %d", next.MTU, least, maxMTU)
	}
	if e.DNS != nil {
		if next.DNS, err = nameServers(n, *e.DNS); err != nil {
			return n, err
		}
	}
	if len(e.Labels) > 0 {
		next.Labels = labelled(n.Labels, e.Labels)
	}
	return next, nil
}

func labelled(have, change map[string]string) map[string]string {
	labels := maps.Clone(have)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, change)
	maps.DeleteFunc(labels, func(_, v string) bool { return v == "" })
	return labels
}

// place puts a subnet where it belongs: in the place of the pool's that lies in it, beside the others if it is of a family that is to be
// added, or in the place of the one of its family.
func (e Update) place(n Network, pools []Pool, s netip.Prefix) ([]Pool, error) {
	if err := (PoolSpec{Subnet: s}).check(n); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(pools, func(p Pool) bool { return s.Contains(p.Subnet.Addr()) && s.Bits() <= p.Subnet.Bits() }); i >= 0 {
		p := pools[i]
		if gw := netip.PrefixFrom(p.Gateway, s.Bits()); p.Gateway.IsValid() && isNetworkOrBroadcast(gw) {
			return nil, fault.Invalidf(n.Subject(), "subnet", "gateway %s would be the first or the last address of %s, which no host can have", p.Gateway, s)
		}
		pools[i].Subnet = s
		return pools, nil
	}
	same := func(p Pool) bool { return p.Subnet.Addr().Is6() == s.Addr().Is6() }
	i := slices.IndexFunc(pools, same)
	switch {
	case i < 0 && s.Addr().Is6() && e.IPv6:
		added := PoolSpec{Subnet: s}.Assign(s, !n.HasParent())
		added.GrowLimit = e.GrowLimits[s]
		return append(pools, added), nil
	case i < 0 && s.Addr().Is6():
		return nil, fault.New(fault.Invalid, n.Subject(), "has no IPv6, so that "+s.String()+" cannot be its subnet", fault.WithField("subnet"),
			fault.WithHint("add IPv6 with --ipv6"))
	case i >= 0 && e.Renumber && slices.ContainsFunc(pools[i+1:], same):
		return nil, fault.New(fault.Invalid, n.Subject(), "has several subnets of that family, and it is not clear which of them is to be "+s.String(),
			fault.WithField("subnet"), fault.WithHint("make a new network, and connect its containers to that"))
	case i >= 0 && e.Renumber:
		moved, err := pools[i].moveTo(n, s)
		moved.GrowLimit = e.GrowLimits[s]
		pools[i] = moved
		return pools, err
	}
	return nil, fault.New(fault.Invalid, n.Subject(), fmt.Sprintf("none of its subnets lies in %s", s), fault.WithField("subnet"),
		fault.WithHint("a subnet can grow, to one that holds it whole; to move to another one and give its containers new addresses, add --renumber"))
}

// nameServers checks the name servers of a network.
func nameServers(n Network, all []netip.Addr) ([]netip.Addr, error) {
	for i, a := range all {
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
			return nil, fault.Invalidf(n.Subject(), "dns", "IP address is not correctly formatted: %s", a)
		case a.IsLoopback():
			return nil, fault.New(fault.Invalid, n.Subject(), "no name server can be at "+a.String()+", where a container finds only itself", fault.WithField("dns"),
				fault.WithHint("name the address at which containers reach it"))
		case slices.Contains(all[:i], a):
			return nil, fault.Invalidf(n.Subject(), "dns", "%s is given twice", a)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// WithPrefixLens is the endpoint on a network that was edited: its addresses have the length of the subnet that they are in now. Other name
// servers are passed on as other addresses are.
func (e Endpoint) WithPrefixLens(n Network) Endpoint {
	if servers := n.NameServersFor(e); !slices.Equal(e.DNS, servers) {
		e.DNS, e.Renumbering = servers, true
	}
	for _, p := range n.Pools {
		if e.IPv4.IsValid() && p.Subnet.Contains(e.IPv4.Addr()) {
			e.IPv4 = netip.PrefixFrom(e.IPv4.Addr(), p.Subnet.Bits())
		}
		if e.IPv6.IsValid() && p.Subnet.Contains(e.IPv6.Addr()) {
			e.IPv6 = netip.PrefixFrom(e.IPv6.Addr(), p.Subnet.Bits())
		}
	}
	return e
}
