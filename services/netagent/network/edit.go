package network

import (
	"fmt"
	"maps"
	"net/netip"

	"github.com/fairlead/fairlead/agent/fault"
)

// Edit is what is to be different about a network. What is nil or empty stays.
type Edit struct {
	MTU     *int
	Subnets []netip.Prefix    // larger ones, each in the place of one that lies in it
	Labels  map[string]string // one with an empty value is taken off
}

// Apply makes the changed network, or tells what is wrong with the change.
func (e Edit) Apply(n Network) (Network, error) {
	if n.Predefined {
		return n, fault.New(fault.Denied, n.Subject(), "is pre-defined and cannot be edited", fault.WithHint("change the configuration, /etc/fairlead/daemon.json"))
	}
	if e.MTU != nil {
		if least := leastMTU(n.HasIPv6()); *e.MTU < least || *e.MTU > maxMTU {
			return n, fault.Invalidf(n.Subject(), "mtu", "invalid MTU number: %d; it must be from %d to %d", *e.MTU, least, maxMTU)
		}
		n.MTU = *e.MTU
	}
	pools := make([]Pool, len(n.Pools))
	copy(pools, n.Pools)
	for _, s := range e.Subnets {
		if err := grow(n, pools, s); err != nil {
			return n, err
		}
	}
	n.Pools = pools
	if len(e.Labels) > 0 {
		labels := maps.Clone(n.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, e.Labels)
		maps.DeleteFunc(labels, func(_, v string) bool { return v == "" })
		n.Labels = labels
	}
	return n, nil
}

// grow puts a larger subnet in the place of the pool's that lies in it.
func grow(n Network, pools []Pool, s netip.Prefix) error {
	if err := (WantedPool{Subnet: s}).check(n); err != nil {
		return err
	}
	for i, p := range pools {
		if !s.Contains(p.Subnet.Addr()) || s.Bits() > p.Subnet.Bits() {
			continue
		}
		if gw := netip.PrefixFrom(p.Gateway, s.Bits()); p.Gateway.IsValid() && isNetworkOrBroadcast(gw) {
			return fault.Invalidf(n.Subject(), "subnet", "gateway %s would be the first or the last address of %s, which no host can have", p.Gateway, s)
		}
		pools[i].Subnet = s
		return nil
	}
	return fault.New(fault.Invalid, n.Subject(), fmt.Sprintf("none of its subnets lies in %s", s), fault.WithField("subnet"),
		fault.WithHint("a subnet can only grow, to one that holds it whole"))
}

// Refitted is the endpoint on a network that was edited: its addresses have the length of the subnet that they are in now.
func (e Endpoint) Refitted(n Network) Endpoint {
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
