package inspect

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/ctl/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// PortBinding is one host port.
type PortBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
	// Sources are the networks that others may connect from; empty means from everywhere.
	Sources []string `json:",omitempty"`
}

// HostConfig is how the container is set up on its host.
type HostConfig struct {
	Binds           []string
	NetworkMode     string
	PortBindings    map[string][]PortBinding
	PublishAllPorts bool
	// PublishAddresses are the addresses of the host that are published whole.
	PublishAddresses []string
	AutoRemove       bool
	DNS              []string `json:"Dns"`
	DNSOptions       []string `json:"DnsOptions"`
	DNSSearch        []string `json:"DnsSearch"`
	ExtraHosts       []string
	Runtime          string
}

// NetworkSettings is the container's place on the network. The address fields beside Networks are those of the network that it was made for.
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
}

const (
	// defaultMode is the network of a container that names none.
	defaultMode = "bridge"
	// joinPrefix starts the mode of a container that shares the network of another one, and has none of its own.
	joinPrefix = "container:"
)

func hostConfigOf(cfg *containerv1.ContainerConfig) HostConfig {
	net, dns := cfg.GetNetwork(), cfg.GetDns()
	return HostConfig{
		Binds:           binds(cfg.GetMounts()),
		NetworkMode:     mode(net),
		PortBindings:    wanted(net.GetPublish()),
		PublishAllPorts: net.GetPublishAll(), PublishAddresses: addresses(net.GetPublishAddresses()),
		AutoRemove: cfg.GetAutoRemove(),
		DNS:        list(dns.GetServers()),
		DNSOptions: list(dns.GetOptions()),
		DNSSearch:  list(dns.GetSearch()),
		ExtraHosts: list(dns.GetExtraHosts()),
		Runtime:    cfg.GetRuntime(),
	}
}

func mode(net *containerv1.NetworkConfig) string {
	if m := net.GetMode(); m != "" && m != "default" {
		return m
	}
	return defaultMode
}

func binds(mounts []*containerv1.BindMount) []string {
	out := []string{}
	for _, m := range mounts {
		s := m.GetSource() + ":" + m.GetTarget()
		switch {
		case m.GetReadOnly() && m.GetPropagation() != "":
			s += ":ro," + m.GetPropagation()
		case m.GetReadOnly():
			s += ":ro"
		case m.GetPropagation() != "":
			s += ":" + m.GetPropagation()
		}
		out = append(out, s)
	}
	return out
}

func addresses(mappings []*natv1.AddressMapping) []string {
	out := []string{}
	for _, m := range mappings {
		s := m.GetHostIp()
		if m.GetIncomingOnly() {
			s += ",outgoing=false"
		}
		for _, from := range m.GetSources() {
			s += ",from=" + from
		}
		out = append(out, s)
	}
	return out
}

// longRange is how many ports a range must have to be one entry.
const longRange = 64

// wanted is what each -p asked for, ranges taken apart but for long ones.
func wanted(mappings []*natv1.PortMapping) map[string][]PortBinding {
	out := map[string][]PortBinding{}
	for _, m := range mappings {
		last := max(m.GetContainerPort(), m.GetContainerPortEnd())
		if last-m.GetContainerPort()+1 >= longRange {
			k, host := rangeKey(m.GetContainerPort(), last, m.GetProtocol()), ""
			if m.GetHostPort() != 0 {
				host = fmt.Sprintf("%d-%d", m.GetHostPort(), m.GetHostPortEnd())
			}
			out[k] = append(out[k], PortBinding{m.GetHostIp(), host, m.GetSources()})
			continue
		}
		for n := m.GetContainerPort(); n <= last; n++ {
			host := ""
			switch {
			case m.GetHostPort() == 0:
			case m.GetContainerPortEnd() == 0 && m.GetHostPortEnd() != 0: // any of a range
				host = fmt.Sprintf("%d-%d", m.GetHostPort(), m.GetHostPortEnd())
			default:
				host = strconv.Itoa(int(m.GetHostPort() + n - m.GetContainerPort()))
			}
			k := key(n, m.GetProtocol())
			out[k] = append(out[k], PortBinding{m.GetHostIp(), host, m.GetSources()})
		}
	}
	return out
}

func key(port uint32, p natv1.Protocol) string {
	return fmt.Sprintf("%d/%s", port, format.Protocol(p))
}

func rangeKey(first, last uint32, p natv1.Protocol) string {
	return fmt.Sprintf("%d-%d/%s", first, last, format.Protocol(p))
}

func networkSettingsOf(c *containerv1.Container) NetworkSettings {
	s := NetworkSettings{Ports: portsOf(c), Networks: map[string]*Endpoint{}, SandboxKey: c.GetSandbox().GetNetnsPath()}
	for _, e := range c.GetSandbox().GetEndpoints() {
		s.Networks[e.GetNetworkName()] = endpointOf(e)
	}
	name := mode(c.GetConfig().GetNetwork())
	if len(s.Networks) == 0 && !strings.HasPrefix(name, joinPrefix) {
		s.Networks[name] = &Endpoint{}
	}
	if e := s.Networks[name]; e != nil {
		s.EndpointID, s.Gateway, s.IPAddress, s.IPPrefixLen, s.MacAddress = e.EndpointID, e.Gateway, e.IPAddress, e.IPPrefixLen, e.MacAddress
		s.GlobalIPv6Address, s.GlobalIPv6PrefixLen, s.IPv6Gateway = e.GlobalIPv6Address, e.GlobalIPv6PrefixLen, e.IPv6Gateway
	}
	return s
}

func endpointOf(e *networkv1.Endpoint) *Endpoint {
	return &Endpoint{
		NetworkID:           e.GetNetworkId(),
		EndpointID:          e.GetId(),
		Gateway:             e.GetIpv4Gateway(),
		IPAddress:           bare(e.GetIpv4Address()),
		IPPrefixLen:         mask(e.GetIpv4Address()),
		IPv6Gateway:         e.GetIpv6Gateway(),
		GlobalIPv6Address:   bare(e.GetIpv6Address()),
		GlobalIPv6PrefixLen: mask(e.GetIpv6Address()),
		MacAddress:          e.GetMacAddress(),
	}
}

// portsOf is what is published now, with null for a port that is only exposed; nothing when the container does not run.
func portsOf(c *containerv1.Container) map[string][]PortBinding {
	out := map[string][]PortBinding{}
	if c.GetStatus() != containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING {
		return out
	}
	for k := range exposedOf(c.GetExposed()) {
		out[k] = nil
	}
	for _, b := range format.SortedBindings(c.GetBindings()) {
		k := format.ContainerPort(b)
		out[k] = append(out[k], PortBinding{b.GetHostIp(), format.HostPorts(b), b.GetSources()})
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

// Network is what `network inspect` prints.
type Network struct {
	Name       string
	ID         string `json:"Id"`
	Created    string
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       IPAM
	Internal   bool
	ConfigFrom ConfigFrom
	ConfigOnly bool
	Containers map[string]NetworkContainer
	Options    map[string]string
	Labels     map[string]string
	Status     NetworkStatus
}

// ConfigFrom is where a network's configuration comes from.
type ConfigFrom struct{ Network string }

// IPAM is where a network's addresses come from.
type IPAM struct {
	Driver string
	Config []Pool
}

// Pool is one subnet.
type Pool struct {
	Subnet             string
	IPRange            string            `json:",omitempty"`
	Gateway            string            `json:",omitempty"`
	AuxiliaryAddresses map[string]string `json:",omitempty"`
}

// NetworkContainer is a running container on a network.
type NetworkContainer struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
	IPv6Address string
}

// NetworkStatus is how full a network is.
type NetworkStatus struct {
	IPAM struct {
		Subnets map[string]SubnetStatus
	}
}

// SubnetStatus is how full a subnet is.
type SubnetStatus struct {
	IPsInUse            uint64
	DynamicIPsAvailable uint64
}

// OfNetwork makes the document of a network and of those among some containers that are on it. The options are those that were
// given; for the default bridge, which nobody has made, those that it has.
func OfNetwork(n *networkv1.Network, containers []*containerv1.Container) *Network {
	doc := &Network{Name: n.GetName(), ID: n.GetId(), Created: stamp(n.GetCreatedAt()), Scope: "local", Driver: n.GetDriver(),
		EnableIPv4: n.GetIpv4(), EnableIPv6: n.GetIpv6(), Internal: n.GetInternal(),
		ConfigFrom: ConfigFrom{n.GetConfigFrom()}, ConfigOnly: n.GetConfigOnly(), IPAM: IPAM{Driver: "default", Config: []Pool{}},
		Containers: on(n.GetId(), containers), Options: map[string]string{}, Labels: map[string]string{}}
	doc.Status.IPAM.Subnets = map[string]SubnetStatus{}
	for _, p := range n.GetPools() {
		doc.IPAM.Config = append(doc.IPAM.Config, Pool{p.GetSubnet(), p.GetIpRange(), p.GetGateway(), p.GetAuxAddresses()})
		doc.Status.IPAM.Subnets[p.GetSubnet()] = SubnetStatus{p.GetUsed(), p.GetFree()}
	}
	if n.GetPredefined() && n.GetBridge() != "" {
		doc.Options["com.docker.network.bridge.name"] = n.GetBridge()
		doc.Options["com.docker.network.bridge.enable_icc"] = strconv.FormatBool(n.GetInterContainer())
		doc.Options["com.docker.network.bridge.enable_ip_masquerade"] = strconv.FormatBool(n.GetMasquerade())
		doc.Options["com.docker.network.driver.mtu"] = strconv.Itoa(int(n.GetMtu()))
	}
	maps.Copy(doc.Options, n.GetOptions())
	maps.Copy(doc.Labels, n.GetLabels())
	return doc
}

func on(networkID string, containers []*containerv1.Container) map[string]NetworkContainer {
	out := map[string]NetworkContainer{}
	for _, c := range containers {
		for _, e := range c.GetSandbox().GetEndpoints() {
			if e.GetNetworkId() == networkID {
				out[c.GetId()] = NetworkContainer{c.GetConfig().GetName(), e.GetId(), e.GetMacAddress(), e.GetIpv4Address(), e.GetIpv6Address()}
			}
		}
	}
	return out
}
