package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// The defaults of the default bridge.
const (
	DefaultBridgeName = "docker0"
	DefaultMTU        = 1500

	minMTU     = 68   // minimum of IPv4
	minMTUIPv6 = 1280 // minimum of IPv6
	maxMTU     = 65535

	// MaxLinkLen is the maximum length of a link name.
	MaxLinkLen = 15
)

// BridgeSettings is the configuration of the default bridge. Zero fields were not given.
type BridgeSettings struct {
	Bip              netip.Prefix // address and subnet of the bridge
	FixedCIDR        netip.Prefix // range of dynamic addresses
	DefaultGateway   netip.Addr   // the containers' gateway, if not the bridge
	Bip6             netip.Prefix
	FixedCIDRv6      netip.Prefix
	DefaultGatewayV6 netip.Addr
	MTU              int
	BridgeName       string

	IPv6         bool       // without Bip6, use a subnet of the host's unique local prefix
	Isolated     bool       // containers cannot reach each other
	NoMasquerade bool       // egress keeps the containers' addresses
	HostBinding  netip.Addr // default host address of port mappings; zero: all addresses
	NoBridge     bool       // no default bridge
	Renumber     bool       // renumber running containers after a change of subnet

	adopted bool // Bip is the address of an adopted bridge and is not managed by Fairlead
}

// WithDefaults sets the defaults of fields that were not given.
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

// Adopt uses the IPv4 address of an existing bridge if the configuration gives none.
func (s BridgeSettings) Adopt(has []netip.Prefix) BridgeSettings {
	i := slices.IndexFunc(has, func(p netip.Prefix) bool { return p.Addr().Is4() })
	if i >= 0 && !s.Bip.IsValid() && !s.FixedCIDR.IsValid() {
		s.Bip, s.adopted = has[i], true
	}
	return s
}

// firstHost returns the bridge's default address in a subnet.
func firstHost(subnet netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(subnet.Masked().Addr().Next(), subnet.Bits())
}

// WithIPv6 sets an IPv6 subnet if IPv6 is enabled without one. It is the last subnet of the host's
// prefix, because networks use that prefix from its start.
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

// WithPools returns s with the subnets and the MTU of other settings. These can change while the
// bridge is in use.
func (s BridgeSettings) WithPools(of BridgeSettings) BridgeSettings {
	s.Bip, s.FixedCIDR, s.DefaultGateway = of.Bip, of.FixedCIDR, of.DefaultGateway
	s.Bip6, s.FixedCIDRv6, s.DefaultGatewayV6, s.IPv6 = of.Bip6, of.FixedCIDRv6, of.DefaultGatewayV6, of.IPv6
	s.MTU, s.Renumber, s.adopted = of.MTU, of.Renumber, of.adopted
	return s
}

// Validate returns an error for each invalid field.
func (s BridgeSettings) Validate() error {
	lowest := minMTU
	if s.IPv6 || s.Bip6.IsValid() {
		lowest = minMTUIPv6
	}

	var errs []error
	if s.MTU < lowest || s.MTU > maxMTU {
		errs = append(errs, fault.Invalidf(fmt.Sprintf("mtu %d", s.MTU), "mtu", "must be %d to %d", lowest, maxMTU))
	}

	if !ValidLinkName(s.BridgeName) {
		errs = append(errs, fault.Invalidf(fmt.Sprintf("bridge %q", s.BridgeName), "bridge",
			"is not a valid interface name: 1 to %d characters, no spaces, slashes or colons", MaxLinkLen))
	}

	errs = append(errs, validateFamily("bip", s.Bip, "fixed-cidr", s.FixedCIDR, "default-gateway", s.DefaultGateway,
		netip.Addr.Is4)...)
	errs = append(errs, validateFamily("bip6", s.Bip6, "fixed-cidr-v6", s.FixedCIDRv6, "default-gateway-v6",
		s.DefaultGatewayV6, netip.Addr.Is6)...)
	return errors.Join(errs...)
}

// ValidLinkName reports whether s can be the name of a link.
func ValidLinkName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= MaxLinkLen && !strings.ContainsAny(s, "/: \t\n\v\f\r\x00")
}

// validateFamily validates the three keys of one address family together.
func validateFamily(bipKey string, bip netip.Prefix, cidrKey string, cidr netip.Prefix, gwKey string, gw netip.Addr,
	is func(netip.Addr) bool) []error {
	var errs []error
	bad := func(key string, value fmt.Stringer, format string, args ...any) {
		errs = append(errs, fault.Invalidf(key+" "+value.String(), key, format, args...))
	}

	if bip.IsValid() && (!is(bip.Addr()) || bip.Addr().Is4In6()) {
		bad(bipKey, bip, "has the wrong address family")
		return errs
	}

	subnet := bip.Masked()
	if bip.IsValid() && isNetworkOrBroadcast(bip) {
		bad(bipKey, bip, "must be a host address, such as %s, not the network or broadcast address",
			netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits()))
	}

	if cidr.IsValid() && (!bip.IsValid() || cidr.Bits() < subnet.Bits() || !subnet.Contains(cidr.Addr())) {
		bad(cidrKey, cidr, "is outside the bridge's subnet %s (%s)", subnet, bipKey)
	}

	if gw.IsValid() && (!bip.IsValid() || !subnet.Contains(gw) ||
		isNetworkOrBroadcast(netip.PrefixFrom(gw, subnet.Bits()))) {
		bad(gwKey, gw, "is not a host address in the bridge's subnet %s (%s)", subnet, bipKey)
	}

	return errs
}

// isNetworkOrBroadcast reports whether the address is the network or broadcast address of its
// subnet. Subnets of one or two addresses have neither.
func isNetworkOrBroadcast(p netip.Prefix) bool {
	if p.Addr().BitLen()-p.Bits() < 2 {
		return false
	}
	return p.Addr() == p.Masked().Addr() || p.Addr().Is4() && !p.Masked().Contains(p.Addr().Next())
}

// The names of predefined networks. The id of the network host never changes while the state exists.
const (
	NameBridge = "bridge"
	NameHost   = "host"
)

// Predefined returns the predefined networks, without ids and creation times.
func (s BridgeSettings) Predefined() []Network {
	others := []Network{
		{Name: NameHost, Driver: DriverHost, Scope: Local, Origin: OriginPredefined},
		{Name: "none", Driver: DriverNull, Scope: Local, Origin: OriginPredefined},
	}

	if s.NoBridge {
		return others
	}

	bridge := Network{Name: NameBridge, Driver: DriverBridge, Scope: Local, Origin: OriginPredefined,
		Spec: Spec{MTU: s.MTU,
			Pools: []Pool{{Subnet: s.Bip.Masked(), Range: masked(s.FixedCIDR), Gateway: s.Bip.Addr(),
				ContainerGateway: s.DefaultGateway}},
			Bridge: &Bridge{Device: s.BridgeName, Masquerade: !s.NoMasquerade, InterContainer: !s.Isolated,
				HostBinding: s.HostBinding, InhibitIPv4: s.adopted}}}
	if s.Bip6.IsValid() {
		bridge.Spec.Pools = append(bridge.Spec.Pools,
			Pool{Subnet: s.Bip6.Masked(), Range: masked(s.FixedCIDRv6), Gateway: s.Bip6.Addr(),
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
