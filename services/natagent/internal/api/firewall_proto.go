package api

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/natagent/internal/explain"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// networkFromProto converts the properties of a network.
func networkFromProto(n *natv1.FirewallNetwork) (*firewall.Network, error) {
	out := &firewall.Network{ID: n.GetId(), Bridge: n.GetBridge(), Masquerade: n.GetMasquerade(),
		ICC: n.GetIcc(), Internal: n.GetInternal(), Tunnel: n.GetTunnel(), Encrypted: n.GetEncrypted()}

	for _, s := range n.GetSubnets() {
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4In6() {
			return nil, fault.Invalidf("network "+n.GetId(), "subnets", "%q is not a subnet in CIDR form", s)
		}
		out.Subnets = append(out.Subnets, p)
	}

	slices.SortFunc(out.Subnets, netip.Prefix.Compare)
	var errOpen, errRouted, err4, err6 error
	out.Unprotected, errOpen = subnetsFromProto(out, "unprotected_subnets", n.GetUnprotectedSubnets())
	out.Routed, errRouted = subnetsFromProto(out, "routed_subnets", n.GetRoutedSubnets())
	out.Trusted = n.GetTrustedInterfaces()
	out.SNAT4, err4 = snatFromProto(n, "snat_ipv4", n.GetSnatIpv4(), netip.Addr.Is4)
	out.SNAT6, err6 = snatFromProto(n, "snat_ipv6", n.GetSnatIpv6(), netip.Addr.Is6)
	return out, errors.Join(errOpen, errRouted, err4, err6)
}

// subnetsFromProto parses subnets, which must be the network's.
func subnetsFromProto(n *firewall.Network, field string, texts []string) (out []netip.Prefix, err error) {
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if err != nil || !slices.Contains(n.Subnets, p) {
			return nil, fault.Invalidf("network "+n.ID, field, "%q is not a subnet of the network", s)
		}
		out = append(out, p)
	}
	return out, nil
}

// snatFromProto parses a source address; empty means none.
func snatFromProto(n *natv1.FirewallNetwork, field, s string, is func(netip.Addr) bool) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || !is(addr) || addr.Zone() != "" || addr.IsUnspecified() {
		return netip.Addr{}, fault.Invalidf("network "+n.GetId(), field, "%q is not a valid address of that family", s)
	}
	return addr, nil
}

// tunnelFromProto converts the tunnel; nil: none.
func tunnelFromProto(t *natv1.FirewallTunnel) (*firewall.Tunnel, error) {
	if t == nil {
		return nil, nil
	}

	const maxPort, subject = 1<<16 - 1, "tunnel"
	if t.GetPort() == 0 || t.GetPort() > maxPort {
		return nil, fault.Invalidf(subject, "port", "%d is not a valid UDP port", t.GetPort())
	}

	out := &firewall.Tunnel{Device: t.GetDevice(), VNI: t.GetVni(), Port: uint16(t.GetPort()), MTU: int(t.GetMtu())}
	for _, p := range t.GetPeers() {
		addr, err := netip.ParseAddr(p.GetAddress())
		if err != nil || addr.Is4In6() || addr.Zone() != "" {
			return nil, fault.Invalidf(subject, "peers", "%q is not a valid address of a host", p.GetAddress())
		}
		peer := firewall.Peer{Address: addr}
		for _, b := range p.GetBlocks() {
			block, err := netip.ParsePrefix(b)
			if err != nil || block.Addr().Is4In6() {
				return nil, fault.Invalidf(subject, "peers", "%q is not a block in CIDR form", b)
			}
			peer.Blocks = append(peer.Blocks, block)
		}
		slices.SortFunc(peer.Blocks, netip.Prefix.Compare)
		out.Peers = append(out.Peers, peer)
	}

	for _, d := range t.GetEncryptedDevices() {
		out.Encrypted = append(out.Encrypted, firewall.Device{Name: d.GetName(), MTU: int(d.GetMtu())})
	}

	slices.SortFunc(out.Peers, func(a, b firewall.Peer) int { return a.Address.Compare(b.Address) })
	return out, nil
}

// networkToProto converts the properties of a network.
func networkToProto(n *firewall.Network) *natv1.FirewallNetwork {
	out := &natv1.FirewallNetwork{Id: n.ID, Bridge: n.Bridge, Masquerade: n.Masquerade,
		Icc: n.ICC, Internal: n.Internal, Tunnel: n.Tunnel, Encrypted: n.Encrypted}

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

func networksToProto(all []*firewall.Network) []*natv1.FirewallNetwork {
	var out []*natv1.FirewallNetwork
	for _, n := range all {
		out = append(out, networkToProto(n))
	}
	return out
}

// hostPortsFromProto converts ports of a host address.
func hostPortsFromProto(req *natv1.ListBlockedPortsRequest) (to netip.Addr, ports []explain.Port, err error) {
	const maxPort, subject = 1<<16 - 1, "host ports"
	if to, err = netip.ParseAddr(req.GetAddress()); err != nil || to.Zone() != "" {
		return to, nil, fault.Invalidf(subject, "address", "invalid IP address: %s", req.GetAddress())
	}

	for _, p := range req.GetPorts() {
		protocol := portpb.ProtocolFromProto(p.GetProtocol())
		switch {
		case protocol.Number() == 0:
			return to, nil, fault.Invalidf(subject, "ports", "invalid proto: %s", string(protocol))
		case p.GetPort() < 1 || p.GetPort() > maxPort:
			return to, nil, fault.Invalidf(subject, "ports", "%d is not a valid port, must be 1 to %d", p.GetPort(),
				maxPort)
		}
		ports = append(ports, explain.Port{Protocol: protocol, Number: uint16(p.GetPort())})
	}
	return to.Unmap(), ports, nil
}

// blockedPortsToProto converts blocked ports.
func blockedPortsToProto(all []explain.Blocked) (out []*natv1.BlockedPort) {
	for _, b := range all {
		out = append(out, &natv1.BlockedPort{Reason: b.Reason(), Port: &natv1.HostPort{
			Protocol: portpb.ProtocolToProto(b.Protocol), Port: uint32(b.Number)}})
	}
	return out
}
