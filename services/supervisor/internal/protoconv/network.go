// Package protoconv converts between package container and the protobuf messages. It contains no
// policy: validation belongs to package container. Packages api and run use it.
package protoconv

import (
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

var protocols = map[natv1.Protocol]container.Protocol{
	natv1.Protocol_PROTOCOL_TCP:  container.TCP,
	natv1.Protocol_PROTOCOL_UDP:  container.UDP,
	natv1.Protocol_PROTOCOL_SCTP: container.SCTP,
	natv1.Protocol_PROTOCOL_ALL:  container.AllProtocols,
}

// ProtocolFromProto converts a protocol. An unknown one becomes its number, which validation rejects.
func ProtocolFromProto(p natv1.Protocol) container.Protocol {
	if known, ok := protocols[p]; ok {
		return known
	}
	return container.Protocol(p.String())
}

// ProtocolToProto converts a protocol to its message.
func ProtocolToProto(p container.Protocol) natv1.Protocol {
	for wire, known := range protocols {
		if known == p {
			return wire
		}
	}
	return natv1.Protocol_PROTOCOL_UNSPECIFIED
}

// MappingsFromProto converts port mappings.
func MappingsFromProto(in []*natv1.PortMapping) ([]container.PortMapping, error) {
	var out []container.PortMapping
	for _, m := range in {
		p := container.PortMapping{Protocol: ProtocolFromProto(m.GetProtocol())}
		for _, n := range []struct {
			from uint32
			to   *uint16
		}{{m.GetHostPort(), &p.HostPort}, {m.GetHostPortEnd(), &p.HostPortEnd},
			{m.GetContainerPort(), &p.ContainerPort}, {m.GetContainerPortEnd(), &p.ContainerPortEnd}} {
			if n.from > 65535 {
				return nil, fault.Invalidf("container", "publish", "%d is not a valid port: the maximum is 65535",
					n.from)
			}
			*n.to = uint16(n.from)
		}
		if ip := m.GetHostIp(); ip != "" {
			addr, err := netip.ParseAddr(ip)
			if err != nil {
				return nil, fault.Invalidf("container", "publish", "invalid IP address: %s", ip)
			}
			p.HostIP = addr
		}
		var err error
		if p.Sources, err = readSources("publish", m.GetAllowedSources()); err != nil {
			return nil, err
		}
		out = append(out, p)
	}

	return out, nil
}

// MappingsToProto converts port mappings to messages.
func MappingsToProto(in []container.PortMapping) []*natv1.PortMapping {
	var out []*natv1.PortMapping
	for _, p := range in {
		m := &natv1.PortMapping{Protocol: ProtocolToProto(p.Protocol), HostPort: uint32(p.HostPort),
			HostPortEnd:   uint32(p.HostPortEnd),
			ContainerPort: uint32(p.ContainerPort), ContainerPortEnd: uint32(p.ContainerPortEnd),
			AllowedSources: p.Sources.Strings()}
		if p.HostIP.IsValid() {
			m.HostIp = p.HostIP.String()
		}
		out = append(out, m)
	}
	return out
}

// AddressesFromProto converts published addresses.
func AddressesFromProto(in []*natv1.AddressMapping) ([]container.PublishedAddress, error) {
	var out []container.PublishedAddress
	for _, a := range in {
		addr, err := netip.ParseAddr(a.GetHostIp())
		if err != nil {
			return nil, fault.Invalidf("container", "publish_address", "invalid IP address: %s", a.GetHostIp())
		}
		from, err := readSources("publish_address", a.GetAllowedSources())
		if err != nil {
			return nil, err
		}
		out = append(out, container.PublishedAddress{HostIP: addr, NoSNAT: a.GetNoSnat(), Sources: from})
	}

	return out, nil
}

func readSources(field string, texts []string) (sources.Set, error) {
	set, err := sources.Parse(texts)
	if err != nil {
		return "", fault.Invalidf("container", field, "%s", err)
	}
	return set, nil
}

// AddressesToProto converts published addresses to messages.
func AddressesToProto(in []container.PublishedAddress) []*natv1.AddressMapping {
	var out []*natv1.AddressMapping
	for _, a := range in {
		out = append(out, &natv1.AddressMapping{HostIp: a.HostIP.String(), NoSnat: a.NoSNAT,
			AllowedSources: a.Sources.Strings()})
	}
	return out
}

// BindingsFromProto converts port bindings of natagent.
func BindingsFromProto(in []*natv1.PortBinding) []container.Binding {
	var out []container.Binding
	for _, b := range in {
		out = append(out, container.Binding{Protocol: ProtocolFromProto(b.GetProtocol()), HostIP: b.GetHostIp(),
			HostPort: uint16(b.GetHostPort()), ContainerIP: b.GetContainerIp(),
			ContainerPort: uint16(b.GetContainerPort()),
			HostPortEnd:   uint16(b.GetHostPortEnd()), ContainerPortEnd: uint16(b.GetContainerPortEnd()),
			Outgoing: b.GetSnat(), Sources: sources.Set(strings.Join(b.GetAllowedSources(), ","))})
	}
	return out
}

// BindingsToProto converts port bindings to messages.
func BindingsToProto(in []container.Binding) []*natv1.PortBinding {
	var out []*natv1.PortBinding
	for _, b := range in {
		out = append(out, &natv1.PortBinding{Protocol: ProtocolToProto(b.Protocol), HostIp: b.HostIP,
			HostPort: uint32(b.HostPort), ContainerIp: b.ContainerIP, ContainerPort: uint32(b.ContainerPort),
			HostPortEnd: uint32(b.HostPortEnd), ContainerPortEnd: uint32(b.ContainerPortEnd), Snat: b.Outgoing,
			AllowedSources: b.Sources.Strings()})
	}
	return out
}

// EndpointsFromProto converts endpoints of netagent.
func EndpointsFromProto(in []*networkv1.Endpoint) []container.Endpoint {
	var out []container.Endpoint
	for _, e := range in {
		out = append(out, container.Endpoint{ID: e.GetId(), NetworkID: e.GetNetworkId(),
			NetworkName: e.GetNetworkName(),
			Interface:   e.GetInterfaceName(), HostInterface: e.GetHostInterface(), MAC: e.GetMacAddress(),
			Bridge: e.GetBridge(),
			IPv4:   e.GetIpv4Address(), IPv4Gateway: e.GetIpv4Gateway(), IPv6: e.GetIpv6Address(),
			IPv6Gateway: e.GetIpv6Gateway(),
			Driver:      e.GetDriver(), HostBinding: e.GetHostBinding(), Internal: e.GetInternal(),
			Leases:  leasesFromProto(e.GetLeases()),
			Servers: e.GetDnsServers(), Search: e.GetDnsSearch()})
	}

	return out
}

// endpointsToProto converts endpoints to messages.
func endpointsToProto(in []container.Endpoint) []*networkv1.Endpoint {
	var out []*networkv1.Endpoint
	for _, e := range in {
		out = append(out, &networkv1.Endpoint{Id: e.ID, NetworkId: e.NetworkID, NetworkName: e.NetworkName,
			InterfaceName: e.Interface, HostInterface: e.HostInterface, MacAddress: e.MAC, Bridge: e.Bridge,
			Ipv4Address: e.IPv4, Ipv4Gateway: e.IPv4Gateway, Ipv6Address: e.IPv6, Ipv6Gateway: e.IPv6Gateway,
			Driver: e.Driver, HostBinding: e.HostBinding, Internal: e.Internal,
			Leases: leasesToProto(e.Leases), DnsServers: e.Servers, DnsSearch: e.Search})
	}
	return out
}

func leasesFromProto(in []*networkv1.Lease) []container.Lease {
	var out []container.Lease
	for _, l := range in {
		out = append(out, container.Lease{By: l.GetProtocol(), Address: l.GetAddress(), Server: l.GetServer(),
			Granted: timeFromProto(l.GetGrantedAt()),
			Renew:   timeFromProto(l.GetRenewAt()), Rebind: timeFromProto(l.GetRebindAt()),
			Expire:      timeFromProto(l.GetExpireAt()),
			NameServers: l.GetNameServers(),
			Search:      l.GetSearch(), Routes: l.GetRoutes()})
	}
	return out
}

func leasesToProto(in []container.Lease) []*networkv1.Lease {
	var out []*networkv1.Lease
	for _, l := range in {
		out = append(out, &networkv1.Lease{Protocol: l.By, Address: l.Address, Server: l.Server,
			GrantedAt: timeToProto(l.Granted),
			RenewAt:   timeToProto(l.Renew), RebindAt: timeToProto(l.Rebind), ExpireAt: timeToProto(l.Expire),
			NameServers: l.NameServers,
			Search:      l.Search, Routes: l.Routes})
	}
	return out
}

// timeFromProto converts a time; nil becomes the zero time.
func timeFromProto(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
