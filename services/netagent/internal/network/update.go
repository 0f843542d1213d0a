package network

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
)

// Update is a change of a network. Nil and empty fields change nothing.
type Update struct {
	MTU        *int
	Subnets    []netip.Prefix    // larger subnets replace those they contain; others need IPv6 or Renumber
	Labels     map[string]string // an empty value removes the label
	DNS        *[]netip.Addr
	Egress     []string                      // nil: unchanged
	Limits     egress.Defaults               // what is not given: unchanged
	IPv6       bool                          // enable IPv6
	GrowLimits map[netip.Prefix]netip.Prefix // grow limits of allocated subnets
	Renumber   bool                          // subnets can be replaced and containers renumbered
}

// Apply returns the changed network, or an error if the change is invalid.
func (e Update) Apply(n Network) (Network, error) {
	if n.IsPredefined() {
		return n, fault.New(fault.Denied, n.Subject(), "is pre-defined and cannot be edited",
			fault.WithHint("change the configuration, /etc/fairlead/daemon.json"))
	}

	if n.IsConfigOnly() {
		return n, fault.New(fault.Invalid, n.Subject(), "is a configuration network and cannot be updated",
			fault.WithHint("update the networks created from it"))
	}

	if n.UsesDHCP() && (len(e.Subnets) > 0 || e.IPv6 || e.Renumber) {
		return n, fault.New(fault.Invalid, n.Subject(), "gets its addresses by DHCP, so its subnets cannot be changed",
			fault.WithField("subnet"),
			fault.WithHint("change the DHCP server; containers follow when they renew their leases"))
	}

	pools := slices.Clone(n.Spec.Pools)
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

	next.Status.Renumbering = n.Status.Renumbering || e.Renumber && len(next.Status.Former) > 0
	if e.MTU != nil {
		next.Spec.MTU = *e.MTU
	}

	if lowest := lowestMTU(next.HasIPv6()); (e.MTU != nil || next.Spec.MTU != 0) &&
		(next.Spec.MTU < lowest || next.Spec.MTU > maxMTU) {
		return n, fault.Invalidf(n.Subject(), "mtu", "invalid MTU number: %d; it must be from %d to %d", next.Spec.MTU,
			lowest, maxMTU)
	}

	if e.DNS != nil {
		if next.Spec.DNS, err = nameServers(n, *e.DNS); err != nil {
			return n, err
		}
	}

	if e.Egress != nil {
		if next.Spec.Egress, err = egressRules(n, e.Egress); err != nil {
			return n, err
		}
	}

	next.Spec.Limits = e.Limits.Or(n.Spec.Limits)
	if err := checkLimits(n, next.Spec.Limits); err != nil {
		return n, err
	}

	if len(e.Labels) > 0 {
		next.Spec.Labels = labelled(n.Spec.Labels, e.Labels)
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

// place puts a subnet into the pools. It replaces the pool that it contains, adds a new address
// family, or replaces the pool of its family by renumbering.
func (e Update) place(n Network, pools []Pool, s netip.Prefix) ([]Pool, error) {
	if err := (PoolSpec{Subnet: s}).check(n); err != nil {
		return nil, err
	}

	if i := slices.IndexFunc(pools, func(p Pool) bool {
		return s.Contains(p.Subnet.Addr()) && s.Bits() <= p.Subnet.Bits()
	}); i >= 0 {
		return enlarge(n, pools, i, s)
	}

	same := func(p Pool) bool { return p.Subnet.Addr().Is6() == s.Addr().Is6() }
	i := slices.IndexFunc(pools, same)
	switch {
	case i < 0 && s.Addr().Is6() && e.IPv6:
		added := PoolSpec{Subnet: s}.Assign(s, !n.HasParent())
		added.GrowLimit = e.GrowLimits[s]
		return append(pools, added), nil
	case i < 0 && s.Addr().Is6():
		return nil, fault.New(fault.Invalid, n.Subject(), "IPv6 is disabled, cannot use subnet "+s.String(),
			fault.WithField("subnet"),
			fault.WithHint("add --ipv6"))
	case i >= 0 && e.Renumber && slices.ContainsFunc(pools[i+1:], same):
		return nil, fault.New(fault.Invalid, n.Subject(),
			"has several subnets of this family, cannot choose the one to replace by "+s.String(),
			fault.WithField("subnet"), fault.WithHint("create another network and connect the containers to it"))
	case i >= 0 && e.Renumber:
		moved, err := pools[i].moveTo(n, s)
		moved.GrowLimit = e.GrowLimits[s]
		pools[i] = moved
		return pools, err
	}

	return nil, fault.New(fault.Invalid, n.Subject(), s.String()+" contains none of its subnets",
		fault.WithField("subnet"),
		fault.WithHint("give a subnet that contains the current one, "+
			"or add --renumber to give its containers new addresses"))
}

// enlarge replaces the subnet of one pool by a subnet that contains it.
func enlarge(n Network, pools []Pool, i int, to netip.Prefix) ([]Pool, error) {
	if gw := pools[i].Gateway; gw.IsValid() && isNetworkOrBroadcast(netip.PrefixFrom(gw, to.Bits())) {
		return nil, fault.Invalidf(n.Subject(), "subnet",
			"gateway %s would be the network or broadcast address of %s", gw, to)
	}

	for j, p := range pools {
		if j != i && p.Subnet.Overlaps(to) {
			return nil, fault.New(fault.Invalid, n.Subject(),
				"subnet "+to.String()+" overlaps "+p.Subnet.String()+", another subnet of the network",
				fault.WithField("subnet"), fault.WithHint("give a subnet that contains one of them only"))
		}
	}

	pools[i].Subnet = to
	return pools, nil
}

// nameServers validates the name servers of a network.
func nameServers(n Network, all []netip.Addr) ([]netip.Addr, error) {
	for i, a := range all {
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
			return nil, fault.Invalidf(n.Subject(), "dns", "IP address is not correctly formatted: %s", a)
		case a.IsLoopback():
			return nil, fault.New(fault.Invalid, n.Subject(), "loopback address "+a.String()+
				" is not a valid name server for containers", fault.WithField("dns"),
				fault.WithHint("use an address that containers can reach"))
		case slices.Contains(all[:i], a):
			return nil, fault.Invalidf(n.Subject(), "dns", "%s is given twice", a)
		}
	}

	if len(all) == 0 {
		return nil, nil
	}

	return all, nil
}
