package protoconv

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// AttachmentFromProto converts a network with its options.
func AttachmentFromProto(in *containerv1.NetworkAttachment) (container.Attachment, error) {
	out := container.Attachment{Network: in.GetNetwork(), MAC: in.GetMacAddress(), Aliases: in.GetAliases(),
		Priority: int(in.GetGatewayPriority()), Interface: in.GetInterfaceName(), Sysctls: in.GetSysctls(),
		Links: linksFromProto(in.GetLinks())}
	for _, text := range in.GetLinkLocalAddresses() {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return out, fault.Invalidf("network "+in.GetNetwork(), "link-local-ip", "invalid link-local IP address: %s",
				text)
		}
		out.LinkLocal = append(out.LinkLocal, addr)
	}

	for _, text := range in.GetAllowedAddresses() {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return out, fault.Invalidf("network "+in.GetNetwork(), "allowed-addresses",
				"invalid subnet %q in allowed-addresses", text)
		}
		out.Allowed = append(out.Allowed, prefix.Masked())
	}

	for _, a := range []struct {
		field, text string
		to          *netip.Addr
	}{{"ip", in.GetIpv4Address(), &out.IPv4}, {"ip6", in.GetIpv6Address(), &out.IPv6}} {
		if a.text == "" {
			continue
		}
		addr, err := netip.ParseAddr(a.text)
		if err != nil {
			return out, fault.Invalidf("network "+in.GetNetwork(), a.field, "invalid IP address: %s", a.text)
		}
		*a.to = addr
	}

	return out, nil
}

func attachmentsFromProto(in []*containerv1.NetworkAttachment) ([]container.Attachment, error) {
	var out []container.Attachment
	for _, a := range in {
		one, err := AttachmentFromProto(a)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func attachmentsToProto(in []container.Attachment) []*containerv1.NetworkAttachment {
	var out []*containerv1.NetworkAttachment
	for _, a := range in {
		out = append(out, &containerv1.NetworkAttachment{Network: a.Network, Ipv4Address: addr(a.IPv4),
			Ipv6Address: addr(a.IPv6),
			MacAddress:  a.MAC, Aliases: a.Aliases, GatewayPriority: int32(a.Priority), InterfaceName: a.Interface,
			LinkLocalAddresses: addrs(a.LinkLocal), Sysctls: a.Sysctls, Links: linksToProto(a.Links),
			AllowedAddresses: prefixes(a.Allowed)})
	}
	return out
}

func linksFromProto(in []*containerv1.Link) []container.Link {
	var out []container.Link
	for _, l := range in {
		out = append(out, container.Link{Container: l.GetContainer(), Alias: l.GetAlias()})
	}
	return out
}

func linksToProto(in []container.Link) []*containerv1.Link {
	var out []*containerv1.Link
	for _, l := range in {
		out = append(out, &containerv1.Link{Container: l.Container, Alias: l.Alias})
	}
	return out
}

// EndpointSpecToProto converts an attachment of a container with a bandwidth limit to netagent's message.
func EndpointSpecToProto(a container.Attachment, limit bandwidth.Limit) *networkv1.EndpointSpec {
	return &networkv1.EndpointSpec{BandwidthIn: limit.In, BandwidthOut: limit.Out, BandwidthUnlimited: limit.None,
		Network: a.Network, Ipv4Address: addr(a.IPv4), Ipv6Address: addr(a.IPv6),
		MacAddress:    a.MAC,
		InterfaceName: a.Interface, GatewayPriority: int32(a.Priority),
		LinkLocalAddresses: addrs(a.LinkLocal), Sysctls: a.Sysctls, AllowedAddresses: prefixes(a.Allowed)}
}

func addrs(in []netip.Addr) []string {
	var out []string
	for _, a := range in {
		out = append(out, a.String())
	}
	return out
}

func prefixes(in []netip.Prefix) []string {
	var out []string
	for _, p := range in {
		out = append(out, p.String())
	}
	return out
}

// addr formats an address; the zero address becomes an empty string.
func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
