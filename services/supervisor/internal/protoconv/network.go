// Package protoconv converts between package container and the protobuf messages. It contains no
// policy: validation belongs to package container. Packages api and run use it.
package protoconv

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/egress/limitpb"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

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
			Servers: e.GetDnsServers(), Search: e.GetDnsSearch(), Egress: e.GetEgress(),
			Limits: limitpb.FromProto(e.GetLimits()), DefaultLimits: limitpb.FromProto(e.GetDefaultLimits())})
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
			Leases: leasesToProto(e.Leases), DnsServers: e.Servers, DnsSearch: e.Search, Egress: e.Egress,
			Limits: limitpb.ToProto(e.Limits), DefaultLimits: limitpb.ToProto(e.DefaultLimits)})
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
