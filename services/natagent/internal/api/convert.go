package api

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

func protocolOf(p natv1.Protocol) publication.Protocol {
	switch p {
	case natv1.Protocol_PROTOCOL_TCP:
		return publication.TCP
	case natv1.Protocol_PROTOCOL_UDP:
		return publication.UDP
	case natv1.Protocol_PROTOCOL_SCTP:
		return publication.SCTP
	}
	return publication.Protocol(p.String()) // rejected by package publication
}

func protocolTo(p publication.Protocol) natv1.Protocol {
	switch p {
	case publication.TCP:
		return natv1.Protocol_PROTOCOL_TCP
	case publication.UDP:
		return natv1.Protocol_PROTOCOL_UDP
	case publication.SCTP:
		return natv1.Protocol_PROTOCOL_SCTP
	case publication.All:
		return natv1.Protocol_PROTOCOL_ALL
	}
	return natv1.Protocol_PROTOCOL_UNSPECIFIED
}

// publicationOf converts a request. It parses addresses; package publication validates the rest.
func publicationOf(req *natv1.PublishRequest) (*publication.Publication, error) {
	p := &publication.Publication{Owner: req.GetOwner(), OwnerName: req.GetOwnerName()}
	var err error
	if p.IPv4, err = addressOf(req, "ipv4_address", req.GetIpv4Address()); err != nil {
		return nil, err
	}
	if p.IPv6, err = addressOf(req, "ipv6_address", req.GetIpv6Address()); err != nil {
		return nil, err
	}

	for _, m := range req.GetMappings() {
		from, err := sourcesOf(req, "publish", m.GetAllowedSources())
		if err != nil {
			return nil, err
		}
		p.Mappings = append(p.Mappings, publication.Mapping{
			Protocol: protocolOf(m.GetProtocol()), HostIP: m.GetHostIp(),
			HostPort: m.GetHostPort(), HostPortEnd: m.GetHostPortEnd(),
			ContainerPort: m.GetContainerPort(), ContainerPortEnd: m.GetContainerPortEnd(), Sources: from,
		})
	}

	for _, a := range req.GetAddresses() {
		from, err := sourcesOf(req, "publish_address", a.GetAllowedSources())
		if err != nil {
			return nil, err
		}
		p.Addresses = append(p.Addresses, publication.Address{HostIP: a.GetHostIp(), NoSNAT: a.GetNoSnat(),
			Sources: from})
	}

	return p, nil
}

func sourcesOf(req *natv1.PublishRequest, field string, texts []string) (sources.Set, error) {
	set, err := sources.Parse(texts)
	if err != nil {
		return "", fault.Invalidf("container "+req.GetOwnerName(), field, "%s", err)
	}
	return set, nil
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

func bindingsTo(all []publication.Binding) []*natv1.PortBinding {
	out := make([]*natv1.PortBinding, 0, len(all))
	for _, b := range all {
		if b.Direct() {
			out = append(out, directTo(b))
			continue
		}
		out = append(out, &natv1.PortBinding{
			Protocol: protocolTo(b.Protocol), HostIp: b.HostIP.String(), HostPort: uint32(b.HostPort),
			ContainerIp: b.ContainerIP.String(), ContainerPort: uint32(b.ContainerPort),
			HostPortEnd: uint32(b.HostPortEnd), Snat: b.SNAT, AllowedSources: b.Sources.Strings(),
		})
	}

	return out
}

// directTo converts a binding for direct access, which has no host port.
func directTo(b publication.Binding) *natv1.PortBinding {
	all := netip.IPv4Unspecified()
	if b.HostIP.Is6() {
		all = netip.IPv6Unspecified()
	}
	return &natv1.PortBinding{Protocol: protocolTo(b.Protocol), HostIp: all.String(),
		ContainerIp:   b.ContainerIP.String(),
		ContainerPort: uint32(b.ContainerPort), ContainerPortEnd: uint32(b.HostPortEnd),
		AllowedSources: b.Sources.Strings()}
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
