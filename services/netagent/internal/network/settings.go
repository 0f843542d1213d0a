package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// What the default bridge is when the configuration does not say.
const (
	DefaultBridgeName = "docker0"
	DefaultMTU        = 1500

	minMTU     = 68   // the least that IPv4 allows
	minMTUIPv6 = 1280 // the least that IPv6 allows
	maxMTU     = 65535
	maxLinkLen = 15
)

// BridgeSettings is what the configuration says of the default bridge. Values that are not valid were not given.
type BridgeSettings struct {
	Bip              netip.Prefix // the bridge's address and subnet
	FixedCIDR        netip.Prefix // where containers' addresses come from
	DefaultGateway   netip.Addr   // what containers are told in place of the bridge's address
	Bip6             netip.Prefix
	FixedCIDRv6      netip.Prefix
	DefaultGatewayV6 netip.Addr
	MTU              int
	BridgeName       string

	IPv6         bool       // with a subnet of the host's own if none is given
	Isolated     bool       // containers do not reach each other
	NoMasquerade bool       // containers leave with their own addresses
	HostBinding  netip.Addr // where ports are published without an address; not valid means on all
	NoBridge     bool       // there is no default bridge
	Renumber     bool       // containers follow to another subnet while they run

	adopted bool // Bip is what others have given the bridge, and it is theirs to take away
}

// WithDefaults fills in what was not given.
func (s BridgeSettings) WithDefaults() BridgeSettings {
	if !s.Bip.IsValid() {
		s.Bip = netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17, 0, 1}), 16)
		if s.FixedCIDR.IsValid() && !s.Bip.Masked().Contains(s.FixedCIDR.Addr()) {
			s.Bip = firstHost(s.FixedCIDR)
		}
	}
	if !s.Bip6.IsValid() && s.FixedCIDRv6.IsValid() {
		s.Bip6 = firstHost(s.FixedCIDRv6)
	}
	if s.MTU == 0 {
		s.MTU = DefaultMTU
	}
	if s.BridgeName == "" {
		s.BridgeName = DefaultBridgeName
	}
	return s
}

// Adopt takes the IPv4 address that a bridge has if nobody says which it is to have.
func (s BridgeSettings) Adopt(has []netip.Prefix) BridgeSettings {
	i := slices.IndexFunc(has, func(p netip.Prefix) bool { return p.Addr().Is4() })
	if i >= 0 && !s.Bip.IsValid() && !s.FixedCIDR.IsValid() {
		s.Bip, s.adopted = has[i], true
	}
	return s
}

// firstHost is the bridge's address in a subnet that is given without one.
func firstHost(subnet netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(subnet.Masked().Addr().Next(), subnet.Bits())
}

// WithIPv6 gives the bridge an IPv6 subnet if it is to have IPv6 and none is given: the last of the host's own, as those of other
// networks are taken from the first on.
func (s BridgeSettings) WithIPv6(seed string) BridgeSettings {
	if !s.IPv6 || s.Bip6.IsValid() {
		return s
	}
	space := DefaultSpace(seed)
	own := space[len(space)-1].Prefix.Addr().As16()
	own[6], own[7], own[15] = 0xff, 0xff, 1
	s.Bip6 = netip.PrefixFrom(netip.AddrFrom16(own), DefaultBits6)
	return s
}

// WithPools is s with what other settings say of subnets and of the MTU, which can change while the bridge is in use.
func (s BridgeSettings) WithPools(of BridgeSettings) BridgeSettings {
	s.Bip, s.FixedCIDR, s.DefaultGateway = of.Bip, of.FixedCIDR, of.DefaultGateway
	s.Bip6, s.FixedCIDRv6, s.DefaultGatewayV6, s.IPv6 = of.Bip6, of.FixedCIDRv6, of.DefaultGatewayV6, of.IPv6
	s.MTU, s.Renumber, s.adopted = of.MTU, of.Renumber, of.adopted
	return s
}

// Validate names every value at fault, and why.
func (s BridgeSettings) Validate() error {
	least := minMTU
	if s.IPv6 || s.Bip6.IsValid() {
		least = minMTUIPv6
	}
	var errs []error
	if s.MTU < least || s.MTU > maxMTU {
		errs = append(errs, fault.Invalidf(fmt.Sprintf("mtu %d", s.MTU), "mtu", "must be %d to %d", least, maxMTU))
	}
	if !validLinkName(s.BridgeName) {
		errs = append(errs, fault.Invalidf(fmt.Sprintf("bridge %q", s.BridgeName), "bridge",
			"is no name for a device: 1 to %d characters, no spaces, slashes or colons", maxLinkLen))
	}
	errs = append(errs, validateFamily("bip", s.Bip, "fixed-cidr", s.FixedCIDR, "default-gateway", s.DefaultGateway, netip.Addr.Is4)...)
	errs = append(errs, validateFamily("bip6", s.Bip6, "fixed-cidr-v6", s.FixedCIDRv6, "default-gateway-v6", s.DefaultGatewayV6, netip.Addr.Is6)...)
	return errors.Join(errs...)
}

func validLinkName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= maxLinkLen && !strings.ContainsAny(s, "/: \t\n\v\f\r\x00")
}

// validateFamily checks one family's three keys against each other.
func validateFamily(bipKey string, bip netip.Prefix, cidrKey string, cidr netip.Prefix, gwKey string, gw netip.Addr, is func(netip.Addr) bool) []error {
	var errs []error
	bad := func(key string, value fmt.Stringer, format string, args ...any) {
		errs = append(errs, fault.Invalidf(key+" "+value.String(), key, format, args...))
	}
	if bip.IsValid() && (!is(bip.Addr()) || bip.Addr().Is4In6()) {
		bad(bipKey, bip, "is of the other address family")
		return errs
	}
	subnet := bip.Masked()
	if bip.IsValid() && isNetworkOrBroadcast(bip) {
		bad(bipKey, bip, "must be the bridge's own address in the subnet, not the subnet's first or last; %s is one",
			netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits()))
	}
	if cidr.IsValid() && (!bip.IsValid() || cidr.Bits() < subnet.Bits() || !subnet.Contains(cidr.Addr())) {
		bad(cidrKey, cidr, "lies outside the bridge's subnet %s (%s)", subnet, bipKey)
	}
	if gw.IsValid() && (!bip.IsValid() || !subnet.Contains(gw) || isNetworkOrBroadcast(netip.PrefixFrom(gw, subnet.Bits()))) {
		bad(gwKey, gw, "is no host's address in the bridge's subnet %s (%s)", subnet, bipKey)
	}
	return errs
}

// isNetworkOrBroadcast tells whether the address is one that its subnet keeps for itself. Subnets of one or two addresses keep none.
func isNetworkOrBroadcast(p netip.Prefix) bool {
	if p.Addr().BitLen()-p.Bits() < 2 {
		return false
	}
	return p.Addr() == p.Masked().Addr() || p.Addr().Is4() && !p.Masked().Contains(p.Addr().Next())
}

// NameBridge is the default network. NameHost is the host's; its id stays for the life of the state, whatever the configuration says.
const (
	NameBridge = "bridge"
	NameHost   = "host"
)

// Predefined are the networks that are always there, without ids and times.
func (s BridgeSettings) Predefined() []Network {
	others := []Network{
		{Name: NameHost, Driver: DriverHost, Predefined: true},
		{Name: "none", Driver: DriverNull, Predefined: true},
	}
	if s.NoBridge {
		return others
	}
	bridge := Network{Name: NameBridge, Driver: DriverBridge, Predefined: true, Bridge: s.BridgeName, MTU: s.MTU,
		Masquerade: !s.NoMasquerade, InterContainer: !s.Isolated, HostBinding: s.HostBinding, InhibitIPv4: s.adopted,
		Pools: []Pool{{Subnet: s.Bip.Masked(), Range: masked(s.FixedCIDR), Gateway: s.Bip.Addr(), ContainerGateway: s.DefaultGateway}}}
	if s.Bip6.IsValid() {
		bridge.Pools = append(bridge.Pools, Pool{Subnet: s.Bip6.Masked(), Range: masked(s.FixedCIDRv6), Gateway: s.Bip6.Addr(),
			ContainerGateway: s.DefaultGatewayV6})
	}
	return append([]Network{bridge}, others...)
}

func masked(p netip.Prefix) netip.Prefix {
	if !p.IsValid() {
		return p
	}
	return p.Masked()
}
