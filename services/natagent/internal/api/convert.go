package api

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// publicationOf converts a request. It validates all values on their own.
func publicationOf(req *natv1.PublishRequest) (*publication.Publication, error) {
	p := &publication.Publication{Owner: req.GetOwner(), OwnerName: req.GetOwnerName()}
	var err error
	if p.IPv4, err = addressOf(req, "ipv4_address", req.GetIpv4Address()); err != nil {
		return nil, err
	}
	if p.IPv6, err = addressOf(req, "ipv6_address", req.GetIpv6Address()); err != nil {
		return nil, err
	}

	if p.Mappings, err = portpb.MappingsFromProto(req.GetMappings()); err != nil {
		return nil, err
	}
	if p.Addresses, err = portpb.AddressesFromProto(req.GetAddresses()); err != nil {
		return nil, err
	}

	return p, nil
}

// addressOf parses a container address; empty means none.
func addressOf(req *natv1.PublishRequest, field, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() ||
		addr.Is4In6() {
		return netip.Addr{}, fault.Invalidf("container "+req.GetOwnerName(), field,
			"%q is not a valid container address", s)
	}
	return addr, nil
}

func networkOf(n *natv1.FirewallNetwork) (*firewall.Network, error) {
	out := &firewall.Network{ID: n.GetId(), Bridge: n.GetBridge(), Masquerade: n.GetMasquerade(),
		ICC: n.GetIcc(), Internal: n.GetInternal()}

	for _, s := range n.GetSubnets() {
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4In6() {
			return nil, fault.Invalidf("network "+n.GetId(), "subnets", "%q is not a subnet in CIDR form", s)
		}
		out.Subnets = append(out.Subnets, p)
	}

	slices.SortFunc(out.Subnets, netip.Prefix.Compare)
	var errOpen, errRouted, err4, err6 error
	out.Unprotected, errOpen = amongSubnets(out, "open_subnets", n.GetUnprotectedSubnets())
	out.Routed, errRouted = amongSubnets(out, "routed_subnets", n.GetRoutedSubnets())
	out.Trusted = n.GetTrustedInterfaces()
	out.SNAT4, err4 = sourceOf(n, "source_ipv4", n.GetSnatIpv4(), netip.Addr.Is4)
	out.SNAT6, err6 = sourceOf(n, "source_ipv6", n.GetSnatIpv6(), netip.Addr.Is6)
	return out, errors.Join(errOpen, errRouted, err4, err6)
}

// amongSubnets parses subnets, which must be the network's.
func amongSubnets(n *firewall.Network, field string, texts []string) (out []netip.Prefix, err error) {
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if err != nil || !slices.Contains(n.Subnets, p) {
			return nil, fault.Invalidf("network "+n.ID, field, "%q is not a subnet of the network", s)
		}
		out = append(out, p)
	}
	return out, nil
}

func sourceOf(n *natv1.FirewallNetwork, field, s string, is func(netip.Addr) bool) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || !is(addr) || addr.Zone() != "" || addr.IsUnspecified() {
		return netip.Addr{}, fault.Invalidf("network "+n.GetId(), field, "%q is not a valid address of that family", s)
	}
	return addr, nil
}

func networkTo(n *firewall.Network) *natv1.FirewallNetwork {
	out := &natv1.FirewallNetwork{Id: n.ID, Bridge: n.Bridge, Masquerade: n.Masquerade,
		Icc: n.ICC, Internal: n.Internal}

	for _, p := range n.Subnets {
		out.Subnets = append(out.Subnets, p.String())
	}

	for _, p := range n.Unprotected {
		out.UnprotectedSubnets = append(out.UnprotectedSubnets, p.String())
	}

	for _, p := range n.Routed {
		out.RoutedSubnets = append(out.RoutedSubnets, p.String())
	}

	out.TrustedInterfaces = n.Trusted
	if n.SNAT4.IsValid() {
		out.SnatIpv4 = n.SNAT4.String()
	}
	if n.SNAT6.IsValid() {
		out.SnatIpv6 = n.SNAT6.String()
	}

	return out
}
