// Package networkdoc converts networks from and to Docker's form. It performs no I/O. Package networks
// uses it.
package networkdoc

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"strconv"

	"github.com/moby/moby/api/types/network"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
)

// networkFromProto returns a network without its containers. The options are those of its creation;
// for the predefined bridge, those in effect.
func networkFromProto(n *networkv1.Network) network.Network {
	out := network.Network{
		Name:       n.GetName(),
		ID:         n.GetId(),
		Created:    n.GetCreatedAt().AsTime(),
		Scope:      cmp.Or(n.GetScope(), "local"),
		Driver:     n.GetDriver(),
		EnableIPv4: n.GetIpv4(),
		EnableIPv6: n.GetIpv6(),
		IPAM:       ipamFromProto(n),
		Internal:   n.GetInternal(),
		Attachable: n.GetAttachable(),
		ConfigFrom: network.ConfigReference{Network: n.GetConfigFrom()},
		ConfigOnly: n.GetConfigOnly(),
		Options:    map[string]string{},
		Labels:     map[string]string{},
	}
	if n.GetPredefined() && n.GetBridge() != "" {
		out.Options["com.docker.network.bridge.default_bridge"] = "true"
		out.Options["com.docker.network.bridge.enable_icc"] = strconv.FormatBool(n.GetIcc())
		out.Options["com.docker.network.bridge.enable_ip_masquerade"] = strconv.FormatBool(n.GetMasquerade())
		out.Options["com.docker.network.bridge.host_binding_ipv4"] = cmp.Or(n.GetHostBinding(), "0.0.0.0")
		out.Options["com.docker.network.bridge.name"] = n.GetBridge()
		out.Options["com.docker.network.driver.mtu"] = strconv.Itoa(int(n.GetMtu()))
	}

	maps.Copy(out.Options, n.GetOptions())
	maps.Copy(out.Labels, n.GetLabels())
	return out
}

func ipamFromProto(n *networkv1.Network) network.IPAM {
	out := network.IPAM{Driver: cmp.Or(n.GetIpamDriver(), "default"), Options: map[string]string{},
		Config: []network.IPAMConfig{}}
	maps.Copy(out.Options, n.GetIpamOptions())
	for _, p := range n.GetPools() {
		out.Config = append(out.Config, network.IPAMConfig{Subnet: prefixOf(p.GetSubnet()),
			IPRange: prefixOf(p.GetIpRange()), Gateway: addrOf(p.GetGateway()),
			AuxAddress: addrsOf(p.GetAuxAddresses())})
	}
	return out
}

// legacyInspect is a network in API versions before 1.52, which have no status.
type legacyInspect struct {
	network.Network
	Containers map[string]network.EndpointResource
}

// InspectFromProto returns a network with its running containers, as an API version has it.
func InspectFromProto(n *networkv1.Network, containers []*containerv1.Container, v apiversion.Version) any {
	on := endpointsFromProto(n.GetId(), containers)
	if v.Before(52) {
		return legacyInspect{networkFromProto(n), on}
	}

	status := &network.Status{IPAM: network.IPAMStatus{Subnets: network.SubnetStatuses{}}}
	for _, p := range n.GetPools() {
		status.IPAM.Subnets[prefixOf(p.GetSubnet())] = network.SubnetStatus{IPsInUse: p.GetUsed(),
			DynamicIPsAvailable: p.GetFree()}
	}
	return network.Inspect{Network: networkFromProto(n), Containers: on, Status: status}
}

// SummaryFromProto returns a network of a list. Before 1.28 a list has the containers too; later
// versions before 1.52 have an empty map.
func SummaryFromProto(n *networkv1.Network, containers []*containerv1.Container, v apiversion.Version) any {
	switch {
	case v.Before(28):
		return legacyInspect{networkFromProto(n), endpointsFromProto(n.GetId(), containers)}
	case v.Before(52):
		return legacyInspect{networkFromProto(n), map[string]network.EndpointResource{}}
	}
	return network.Summary{Network: networkFromProto(n)}
}

func endpointsFromProto(networkID string, containers []*containerv1.Container) map[string]network.EndpointResource {
	out := map[string]network.EndpointResource{}
	for _, c := range containers {
		for _, e := range c.GetSandbox().GetEndpoints() {
			if e.GetNetworkId() != networkID {
				continue
			}
			mac, _ := net.ParseMAC(e.GetMacAddress())
			out[c.GetId()] = network.EndpointResource{Name: c.GetConfig().GetName(), EndpointID: e.GetId(),
				MacAddress: network.HardwareAddr(mac), IPv4Address: prefixOf(e.GetIpv4Address()),
				IPv6Address: prefixOf(e.GetIpv6Address())}
		}
	}
	return out
}

// prefixOf and addrOf parse what netagent formats; an empty text is the zero value.
func prefixOf(text string) netip.Prefix {
	p, _ := netip.ParsePrefix(text)
	return p
}

func addrOf(text string) netip.Addr {
	a, _ := netip.ParseAddr(text)
	return a
}

func addrsOf(texts map[string]string) map[string]netip.Addr {
	if len(texts) == 0 {
		return nil
	}
	out := map[string]netip.Addr{}
	for name, text := range texts {
		out[name] = addrOf(text)
	}
	return out
}

// CreateToProto returns the request that creates a network.
func CreateToProto(r network.CreateRequest, v apiversion.Version) *networkv1.CreateNetworkRequest {
	out := &networkv1.CreateNetworkRequest{Name: r.Name, Driver: r.Driver, Internal: r.Internal, Ipv6: r.EnableIPv6,
		Labels: r.Labels, Options: r.Options, ConfigOnly: r.ConfigOnly, Attachable: r.Attachable}
	if v.AtLeast(48) {
		out.Ipv4 = r.EnableIPv4
	}
	if r.ConfigFrom != nil {
		out.ConfigFrom = r.ConfigFrom.Network
	}
	if r.IPAM == nil {
		return out
	}

	out.IpamDriver, out.IpamOptions = r.IPAM.Driver, r.IPAM.Options
	for _, c := range r.IPAM.Config {
		out.Pools = append(out.Pools, &networkv1.PoolSpec{Subnet: prefixText(c.Subnet), IpRange: prefixText(c.IPRange),
			Gateway: addrText(c.Gateway), AuxAddresses: addrTexts(c.AuxAddress)})
	}
	return out
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func addrTexts(addrs map[string]netip.Addr) map[string]string {
	if len(addrs) == 0 {
		return nil
	}
	out := map[string]string{}
	for name, a := range addrs {
		out[name] = addrText(a)
	}
	return out
}
