package network

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
)

// PoolSpec is a request for a subnet. Zero fields were not given.
type PoolSpec struct {
	Subnet  netip.Prefix // an unspecified address: any subnet of that length; length 0: the pool's default
	Range   netip.Prefix
	Gateway netip.Addr
	Aux     map[string]netip.Addr
}

// IsAuto reports whether the subnet is allocated from the address pools.
func (p PoolSpec) IsAuto() bool { return !p.Subnet.IsValid() || p.Subnet.Addr().IsUnspecified() }

// The names of auxiliary addresses that replace the host's address as the containers' gateway.
const (
	AuxGatewayIPv4 = "DefaultGatewayIPv4"
	AuxGatewayIPv6 = "DefaultGatewayIPv6"
)

// is6 reports whether the request is for IPv6. A request without any address is for IPv4.
func (p PoolSpec) is6() bool {
	for _, a := range []netip.Addr{p.Subnet.Addr(), p.Range.Addr(), p.Gateway} {
		if a.IsValid() {
			return a.Is6()
		}
	}
	return false
}

// check validates the request. Addresses in a subnet that is not allocated yet are validated later.
func (p PoolSpec) check(n Network) error {
	bad := func(field, format string, args ...any) error {
		return fault.Invalidf(n.Subject(), field, format, args...)
	}

	s := p.Subnet
	switch {
	case !s.IsValid():
		if p.Range.IsValid() || p.Gateway.IsValid() {
			return bad("subnet", "every ip-range or gateway must have a corresponding subnet")
		}
	case s.Addr().Is4In6() || s.Addr().Zone() != "":
		return bad("subnet", "invalid subnet %s: write it as IPv4 or IPv6 without a zone", s)
	case s != s.Masked():
		return bad("subnet", "invalid subnet %s: it should be %s", s, s.Masked())
	case s.Bits() == 0:
		return bad("subnet", "invalid subnet %s: it contains all addresses", s)
	case !p.IsAuto() && (s.Addr().IsMulticast() || s.Addr().IsLoopback()):
		return bad("subnet", "invalid subnet %s: loopback and multicast subnets are not allowed", s)
	}

	if p.IsAuto() {
		return nil
	}

	return p.Within(n, s)
}

// Within checks that range, gateway and auxiliary addresses are in the subnet.
func (p PoolSpec) Within(n Network, s netip.Prefix) error {
	bad := func(field, format string, args ...any) error {
		return fault.Invalidf(n.Subject(), field, format, args...)
	}

	r := p.Range
	switch {
	case r.IsValid() && r != r.Masked():
		return bad("ip-range", "invalid ip-range %s: it should be %s", r, r.Masked())
	case r.IsValid() && (r.Addr().Is4() != s.Addr().Is4() || !r.Overlaps(s)):
		return bad("ip-range", "no matching subnet for range %s: it is outside %s", r, s)
	case r.IsValid() && r.Bits() < s.Bits():
		return bad("ip-range", "invalid ip-range %s: CIDR block is bigger than its parent subnet %s", r, s)
	case p.Gateway.IsValid() && !s.Contains(p.Gateway):
		return bad("gateway", "no matching subnet for gateway %s: it is outside %s", p.Gateway, s)
	case p.Gateway.IsValid() && isNetworkOrBroadcast(netip.PrefixFrom(p.Gateway, s.Bits())):
		return bad("gateway", "gateway %s is the network or broadcast address of %s", p.Gateway, s)
	}

	for _, name := range slices.Sorted(maps.Keys(p.Aux)) {
		if a := p.Aux[name]; !s.Contains(a) {
			return bad("aux-address", "no matching subnet for aux-address %s: it is outside %s", a, s)
		} else if a == p.Gateway {
			return bad("aux-address", "failed to allocate secondary ip address (%s:%s): Address already in use", name,
				a)
		}
	}

	return nil
}

// Assign returns the pool on an allocated subnet. The host gets an address if one was requested, or
// if host is true. The subnet must have passed Within.
func (p PoolSpec) Assign(subnet netip.Prefix, host bool) Pool {
	out := Pool{Subnet: subnet, Range: p.Range, Gateway: p.Gateway, Aux: p.Aux}
	for _, name := range []string{AuxGatewayIPv4, AuxGatewayIPv6} {
		if gw, ok := p.Aux[name]; ok {
			out.ContainerGateway = gw
		}
	}
	if !out.Gateway.IsValid() && host {
		out.Gateway = out.firstFree()
	}
	return out
}

// firstFree returns the first address the host can have: in the range, as in Docker, or in the
// subnet.
func (p Pool) firstFree() netip.Addr {
	from := p.Subnet
	if p.Range.IsValid() {
		from = p.Range
	}

	taken := slices.Collect(maps.Values(p.Aux))
	for a := from.Addr(); p.Subnet.Contains(a); a = a.Next() {
		if !slices.Contains(taken, a) && !isNetworkOrBroadcast(netip.PrefixFrom(a, p.Subnet.Bits())) {
			return a
		}
	}

	return netip.Addr{}
}
