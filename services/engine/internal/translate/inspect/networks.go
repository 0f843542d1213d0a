package inspect

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/endpoints"
)

// Networks returns the endpoints of a container by network. A stopped container has its requested
// networks, without addresses.
func Networks(c *containerv1.Container, v apiversion.Version) map[string]*network.EndpointSettings {
	out := map[string]*network.EndpointSettings{}
	cfg := c.GetConfig().GetNetwork()
	if Shares(cfg) {
		return out
	}
	requested := cfg.GetNetworks()
	if len(requested) == 0 && c.GetSandbox() == nil {
		requested = []*containerv1.NetworkAttachment{{Network: Mode(cfg)}}
	}
	for _, e := range c.GetSandbox().GetEndpoints() {
		out[e.GetNetworkName()] = effective(e)
	}
	if len(out) == 0 && len(requested) == 0 {
		out[Mode(cfg)] = &network.EndpointSettings{} // host and none
	}

	for _, a := range requested {
		if out[a.GetNetwork()] == nil && !connected(c, a.GetNetwork()) {
			out[a.GetNetwork()] = &network.EndpointSettings{}
		}
		if e := out[a.GetNetwork()]; e != nil {
			setRequested(e, a)
		}
	}
	for name, e := range out {
		setNames(e, c, name, v)
	}
	return out
}

// connected reports whether a running container has an endpoint on a network that was requested by its
// ID.
func connected(c *containerv1.Container, reference string) bool {
	return slices.ContainsFunc(c.GetSandbox().GetEndpoints(), func(e *networkv1.Endpoint) bool {
		return strings.HasPrefix(e.GetNetworkId(), reference)
	})
}

// effective returns the settings of an endpoint.
func effective(e *networkv1.Endpoint) *network.EndpointSettings {
	out := &network.EndpointSettings{NetworkID: e.GetNetworkId(), EndpointID: e.GetId(),
		Gateway: address(e.GetIpv4Gateway()), IPv6Gateway: address(e.GetIpv6Gateway()),
		MacAddress: mac(e.GetMacAddress())}
	if p, err := netip.ParsePrefix(e.GetIpv4Address()); err == nil {
		out.IPAddress, out.IPPrefixLen = p.Addr(), p.Bits()
	}
	if p, err := netip.ParsePrefix(e.GetIpv6Address()); err == nil {
		out.GlobalIPv6Address, out.GlobalIPv6PrefixLen = p.Addr(), p.Bits()
	}
	return out
}

// address parses an address; empty is zero.
func address(text string) netip.Addr {
	a, _ := netip.ParseAddr(text)
	return a
}

// mac parses a MAC address; empty is nil.
func mac(text string) network.HardwareAddr {
	parsed, err := net.ParseMAC(text)
	if err != nil {
		return nil
	}
	return network.HardwareAddr(parsed)
}

// setRequested sets the requested options of an endpoint.
func setRequested(e *network.EndpointSettings, a *containerv1.NetworkAttachment) {
	e.GwPriority = int(a.GetGatewayPriority())
	for _, l := range a.GetLinks() {
		e.Links = append(e.Links, l.GetContainer()+":"+l.GetAlias())
	}
	e.Aliases = append(e.Aliases, a.GetAliases()...)
	if len(e.MacAddress) == 0 {
		e.MacAddress = mac(a.GetMacAddress())
	}
	if a.GetIpv4Address() != "" || a.GetIpv6Address() != "" || len(a.GetLinkLocalAddresses()) > 0 {
		e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: address(a.GetIpv4Address()),
			IPv6Address: address(a.GetIpv6Address()), LinkLocalIPs: addresses(a.GetLinkLocalAddresses())}
	}

	options := map[string]string{}
	if a.GetInterfaceName() != "" {
		options[endpoints.OptionName] = a.GetInterfaceName()
	}
	if len(a.GetSysctls()) > 0 {
		options[endpoints.OptionSysctls] = strings.Join(a.GetSysctls(), ",")
	}
	if len(a.GetAllowedAddresses()) > 0 {
		options[endpoints.OptionAllowed] = strings.Join(a.GetAllowedAddresses(), ",")
	}
	if len(options) > 0 {
		e.DriverOpts = options
	}
}

// setNames sets the names of a container on a network. The default network has none.
func setNames(e *network.EndpointSettings, c *containerv1.Container, name string, v apiversion.Version) {
	if name == "bridge" || name == "host" || name == "none" {
		return
	}
	short := id.Short(c.GetId())
	for _, n := range slices.Concat([]string{c.GetConfig().GetName()}, e.Aliases,
		[]string{short, c.GetConfig().GetDns().GetHostname()}) {
		if n != "" && !slices.Contains(e.DNSNames, n) {
			e.DNSNames = append(e.DNSNames, n)
		}
	}
	if v.Before(45) {
		e.Aliases = append(e.Aliases, short)
	}
}
