package network

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
)

// PoolSpec is what somebody says of a subnet. What is not valid was not given.
type PoolSpec struct {
	Subnet  netip.Prefix // with an unspecified address: any of that length; of the length 0: as long as the pools say
	Range   netip.Prefix
	Gateway netip.Addr
	Aux     map[string]netip.Addr
}

// IsAuto tells whether the subnet is to be chosen out of the default pools.
func (p PoolSpec) IsAuto() bool { return !p.Subnet.IsValid() || p.Subnet.Addr().IsUnspecified() }

// The names of aux addresses that are what containers are told in place of the host's address.
const (
	AuxGatewayIPv4 = "DefaultGatewayIPv4"
	AuxGatewayIPv6 = "DefaultGatewayIPv6"
)

// is6 tells of which family it is; one without any address is IPv4.
func (p PoolSpec) is6() bool {
	for _, a := range []netip.Addr{p.Subnet.Addr(), p.Range.Addr(), p.Gateway} {
		if a.IsValid() {
			return a.Is6()
		}
	}
	return false
}

// check tells what is wrong with a subnet by itself. What lies outside of one that is still to be chosen is told when it is.
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
		return bad("subnet", "invalid subnet %s: it has all addresses there are", s)
	case !p.IsAuto() && (s.Addr().IsMulticast() || s.Addr().IsLoopback()):
		return bad("subnet", "invalid subnet %s: loopback and multicast addresses cannot be containers'", s)
	}
	if p.IsAuto() {
		return nil
	}
	return p.Within(n, s)
}

// Within checks what is to lie in the subnet.
func (p PoolSpec) Within(n Network, s netip.Prefix) error {
	bad := func(field, format string, args ...any) error {
		return fault.Invalidf(n.Subject(), field, format, args...)
	}
	r := p.Range
	switch {
	case r.IsValid() && r != r.Masked():
		return bad("ip-range", "invalid ip-range %s: it should be %s", r, r.Masked())
	case r.IsValid() && (r.Addr().Is4() != s.Addr().Is4() || !r.Overlaps(s)):
		return bad("ip-range", "no matching subnet for range %s: it lies outside %s", r, s)
	case r.IsValid() && r.Bits() < s.Bits():
		return bad("ip-range", "invalid ip-range %s: CIDR block is bigger than its parent subnet %s", r, s)
	case p.Gateway.IsValid() && !s.Contains(p.Gateway):
		return bad("gateway", "no matching subnet for gateway %s: it lies outside %s", p.Gateway, s)
	case p.Gateway.IsValid() && isNetworkOrBroadcast(netip.PrefixFrom(p.Gateway, s.Bits())):
		return bad("gateway", "gateway %s is the first or the last address of %s, which no host can have", p.Gateway, s)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Aux)) {
		if a := p.Aux[name]; !s.Contains(a) {
			return bad("aux-address", "no matching subnet for aux-address %s: it lies outside %s", a, s)
		} else if a == p.Gateway {
			return bad("aux-address", "failed to allocate secondary ip address (%s:%s): Address already in use", name, a)
		}
	}
	return nil
}

// Assign makes the pool of a wanted one on its subnet, which must be chosen and hold all that is wanted. The host has an address in it if
// one is given, or if host says so.
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

// firstFree is the first address that the host can have: the range's, as Docker takes it, or the subnet's.
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
