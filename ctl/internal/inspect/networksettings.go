package inspect

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/internal/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// NetworkSettings lists the endpoints of a container. The address fields outside of Networks are
// those of its network mode.
type NetworkSettings struct {
	SandboxKey          string
	Ports               map[string][]PortBinding
	EndpointID          string
	Gateway             string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	MacAddress          string
	Networks            map[string]*Endpoint
}

// Endpoint is one attachment to a network.
type Endpoint struct {
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	MacAddress          string
	Leases              []Lease `json:",omitempty"`
	Limits              *Limits `json:",omitempty"` // Fairlead's: the limits that apply
	// The fields below are the requested options.
	IPAMConfig *EndpointIPAM `json:",omitempty"`
	Links      []string      `json:",omitempty"` // ID:ALIAS
	Aliases    []string
	// DNSNames are the DNS names on the network. The default network has none.
	DNSNames   []string
	DriverOpts map[string]string `json:",omitempty"`
	GwPriority int32
}

// Lease is an address of DHCP or SLAAC. The times are RFC 3339; empty means no such time.
type Lease struct {
	By      string
	Address string
	Server  string `json:",omitempty"`
	Granted string
	Renew   string `json:",omitempty"`
	Rebind  string `json:",omitempty"`
	Expire  string `json:",omitempty"`

	NameServers []string `json:",omitempty"`
	Search      []string `json:",omitempty"`
	Routes      []string `json:",omitempty"` // without the default route
}

// EndpointIPAM holds the requested static addresses.
type EndpointIPAM struct {
	IPv4Address  string   `json:",omitempty"`
	IPv6Address  string   `json:",omitempty"`
	LinkLocalIPs []string `json:",omitempty"`
}

func networkSettingsOf(c *containerv1.Container) NetworkSettings {
	s := NetworkSettings{Ports: portsOf(c), Networks: map[string]*Endpoint{}, SandboxKey: c.GetSandbox().GetNetnsPath()}
	for _, e := range c.GetSandbox().GetEndpoints() {
		doc := endpointOf(e)
		doc.Limits = endpointLimits(c.GetConfig().GetNetwork(), e)
		s.Networks[e.GetNetworkName()] = doc
	}

	for name, e := range s.Networks {
		e.DNSNames = dnsNames(c, name)
	}

	for _, a := range c.GetConfig().GetNetwork().GetNetworks() {
		if e := s.Networks[a.GetNetwork()]; e != nil {
			e.setRequested(a)
		}
	}

	name := mode(c.GetConfig().GetNetwork())
	if len(s.Networks) == 0 && listed(c, name) {
		s.Networks[name] = &Endpoint{}
	}

	if e := s.Networks[name]; e != nil {
		s.EndpointID, s.Gateway, s.IPAddress, s.IPPrefixLen, s.MacAddress = e.EndpointID, e.Gateway, e.IPAddress,
			e.IPPrefixLen, e.MacAddress
		s.GlobalIPv6Address, s.GlobalIPv6PrefixLen, s.IPv6Gateway = e.GlobalIPv6Address, e.GlobalIPv6PrefixLen,
			e.IPv6Gateway
	}

	return s
}

// listed reports whether a container without interfaces is shown on the network of its mode: always
// for host and none, otherwise while it is configured to be connected.
func listed(c *containerv1.Container, name string) bool {
	if strings.HasPrefix(name, joinPrefix) {
		return false
	}
	return name == "host" || name == "none" || len(c.GetConfig().GetNetwork().GetNetworks()) > 0
}

// dnsNames returns the names of a running container on a network without duplicates: its name,
// aliases, short ID and hostname.
func dnsNames(c *containerv1.Container, network string) []string {
	if network == defaultMode {
		return nil
	}

	all := []string{c.GetConfig().GetName()}
	for _, a := range c.GetConfig().GetNetwork().GetNetworks() {
		if a.GetNetwork() == network {
			all = append(all, a.GetAliases()...)
		}
	}

	all = append(all, id.Short(c.GetId()), c.GetConfig().GetDns().GetHostname())
	var out []string
	for _, n := range all {
		if n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}

	return out
}

// setRequested sets the requested options of an endpoint.
func (e *Endpoint) setRequested(a *containerv1.NetworkAttachment) {
	e.Aliases, e.GwPriority = a.GetAliases(), a.GetGatewayPriority()
	for _, l := range a.GetLinks() {
		e.Links = append(e.Links, l.GetContainer()+":"+l.GetAlias())
	}

	if a.GetIpv4Address() != "" || a.GetIpv6Address() != "" || len(a.GetLinkLocalAddresses()) > 0 {
		e.IPAMConfig = &EndpointIPAM{a.GetIpv4Address(), a.GetIpv6Address(), a.GetLinkLocalAddresses()}
	}

	e.DriverOpts = map[string]string{}
	if a.GetInterfaceName() != "" {
		e.DriverOpts["com.docker.network.endpoint.ifname"] = a.GetInterfaceName()
	}
	if len(a.GetAllowedAddresses()) > 0 {
		e.DriverOpts["allowed-addresses"] = strings.Join(a.GetAllowedAddresses(), ",")
	}
	if len(a.GetSysctls()) > 0 {
		e.DriverOpts["com.docker.network.endpoint.sysctls"] = strings.Join(a.GetSysctls(), ",")
	}
}

func endpointOf(e *networkv1.Endpoint) *Endpoint {
	return &Endpoint{
		NetworkID:           e.GetNetworkId(),
		EndpointID:          e.GetId(),
		Gateway:             e.GetIpv4Gateway(),
		IPAddress:           addressOf(e.GetIpv4Address()),
		IPPrefixLen:         prefixLength(e.GetIpv4Address()),
		IPv6Gateway:         e.GetIpv6Gateway(),
		GlobalIPv6Address:   addressOf(e.GetIpv6Address()),
		GlobalIPv6PrefixLen: prefixLength(e.GetIpv6Address()),
		MacAddress:          e.GetMacAddress(),
		Leases:              leasesOf(e.GetLeases()),
	}
}

func leasesOf(all []*networkv1.Lease) []Lease {
	formatOptional := func(t *timestamppb.Timestamp) string {
		if t == nil {
			return ""
		}
		return formatTime(t)
	}
	var out []Lease
	for _, l := range all {
		out = append(out, Lease{l.GetProtocol(), l.GetAddress(), l.GetServer(), formatOptional(l.GetGrantedAt()),
			formatOptional(l.GetRenewAt()), formatOptional(l.GetRebindAt()),
			formatOptional(l.GetExpireAt()), l.GetNameServers(), l.GetSearch(), l.GetRoutes()})
	}

	return out
}

// portsOf returns the port bindings of a running container, with null for a port that is only
// exposed.
func portsOf(c *containerv1.Container) map[string][]PortBinding {
	out := map[string][]PortBinding{}
	if !HasProcess(c) {
		return out
	}

	for k := range exposedOf(c.GetExposed()) {
		out[k] = nil
	}

	for _, b := range format.SortedBindings(c.GetBindings()) {
		k := format.ContainerPort(b)
		out[k] = append(out[k], PortBinding{b.GetHostIp(), format.HostPorts(b), b.GetAllowedSources()})
	}

	return out
}

func exposedOf(exposed []*containerv1.ExposedPort) map[string]struct{} {
	out := map[string]struct{}{}
	for _, e := range exposed {
		if e.GetPortEnd() >= e.GetPort()+longRange-1 {
			out[rangeKey(e.GetPort(), e.GetPortEnd(), e.GetProtocol())] = struct{}{}
			continue
		}
		for n := e.GetPort(); n <= max(e.GetPort(), e.GetPortEnd()); n++ {
			out[key(n, e.GetProtocol())] = struct{}{}
		}
	}
	return out
}
