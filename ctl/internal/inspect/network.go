package inspect

import (
	"cmp"
	"maps"
	"net/netip"
	"strconv"

	"github.com/fairlead/fairlead/proto/egress/limitpb"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Network is the document of a network.
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
	Attachable bool
	Ingress    bool // Docker Swarm only: always false
	ConfigFrom ConfigFrom
	ConfigOnly bool
	Containers map[string]NetworkContainer
	Options    map[string]string
	Labels     map[string]string
	DNS        []string `json:",omitempty"`
	Egress     []string `json:",omitempty"`
	Limits     *Limits  `json:",omitempty"` // Fairlead's: of each container without limits of its own
	Status     NetworkStatus
}

// ConfigFrom names the configuration-only network that the configuration was copied from.
type ConfigFrom struct{ Network string }

// IPAM lists the address pools of a network.
type IPAM struct {
	Driver  string
	Options map[string]string // as given, without an effect
	Config  []Pool
}

// Pool is a subnet of a network.
type Pool struct {
	Subnet             string
	IPRange            string            `json:",omitempty"`
	Gateway            string            `json:",omitempty"`
	AuxiliaryAddresses map[string]string `json:",omitempty"`
}

// NetworkContainer is a running container that is connected to a network.
type NetworkContainer struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
	IPv6Address string
	Node        string `json:",omitempty"` // of a container on another host of the fleet
}

// NetworkStatus holds the usage of the address pools of a network.
type NetworkStatus struct {
	IPAM struct {
		Subnets map[string]SubnetStatus
	}
}

// SubnetStatus is the usage of a subnet.
type SubnetStatus struct {
	IPsInUse            uint64
	DynamicIPsAvailable uint64
}

// FromNetwork returns the document of a network with its connected containers. The options are
// those of its creation; for the predefined bridge, those in effect.
func FromNetwork(n *networkv1.Network, containers []*containerv1.Container) *Network {
	doc := &Network{Name: n.GetName(), ID: n.GetId(), Created: formatTime(n.GetCreatedAt()),
		Scope:      cmp.Or(n.GetScope(), "local"),
		Driver:     n.GetDriver(),
		EnableIPv4: n.GetIpv4(), EnableIPv6: n.GetIpv6(), Internal: n.GetInternal(), Attachable: n.GetAttachable(),
		ConfigFrom: ConfigFrom{n.GetConfigFrom()}, ConfigOnly: n.GetConfigOnly(),
		IPAM: IPAM{Driver: cmp.Or(n.GetIpamDriver(), "default"), Options: map[string]string{}, Config: []Pool{}},
		Containers: containersOn(n.GetId(),
			containers), Options: map[string]string{}, Labels: map[string]string{}, DNS: n.GetDns(),
		Egress: n.GetEgress(), Limits: limitsOf(limitpb.FromProto(n.GetLimits()))}
	doc.Status.IPAM.Subnets = map[string]SubnetStatus{}
	for _, p := range n.GetPools() {
		doc.IPAM.Config = append(doc.IPAM.Config,
			Pool{p.GetSubnet(), p.GetIpRange(), p.GetGateway(), p.GetAuxAddresses()})
		doc.Status.IPAM.Subnets[p.GetSubnet()] = SubnetStatus{p.GetUsed(), p.GetFree()}
	}

	if n.GetPredefined() && n.GetBridge() != "" {
		doc.Options["com.docker.network.bridge.name"] = n.GetBridge()
		doc.Options["com.docker.network.bridge.enable_icc"] = strconv.FormatBool(n.GetIcc())
		doc.Options["com.docker.network.bridge.enable_ip_masquerade"] = strconv.FormatBool(n.GetMasquerade())
		doc.Options["com.docker.network.driver.mtu"] = strconv.Itoa(int(n.GetMtu()))
	}

	maps.Copy(doc.IPAM.Options, n.GetIpamOptions())
	maps.Copy(doc.Options, n.GetOptions())
	maps.Copy(doc.Labels, n.GetLabels())
	return doc
}

func containersOn(networkID string, containers []*containerv1.Container) map[string]NetworkContainer {
	out := map[string]NetworkContainer{}
	for _, c := range containers {
		for _, e := range c.GetSandbox().GetEndpoints() {
			if e.GetNetworkId() == networkID {
				out[c.GetId()] = NetworkContainer{c.GetConfig().GetName(), e.GetId(), e.GetMacAddress(),
					e.GetIpv4Address(), e.GetIpv6Address(), ""}
			}
		}
	}
	return out
}

// AddEndpoints adds the containers of other hosts of the fleet, which have no hardware address here.
func (n *Network) AddEndpoints(all []*fleetv1.HostEndpoint) {
	for _, h := range all {
		e := h.GetEndpoint()
		if _, here := n.Containers[e.GetOwner()]; here {
			continue
		}
		c := NetworkContainer{Node: h.GetHostName()}
		if len(e.GetNames()) > 0 {
			c.Name = e.GetNames()[0]
		}
		for _, text := range e.GetAddresses() {
			a, err := netip.ParseAddr(text)
			switch {
			case err != nil:
			case a.Is4():
				c.IPv4Address = withLength(a, n.IPAM.Config)
			default:
				c.IPv6Address = withLength(a, n.IPAM.Config)
			}
		}
		n.Containers[e.GetOwner()] = c
	}
}

// withLength returns an address with the length of its subnet.
func withLength(a netip.Addr, pools []Pool) string {
	for _, p := range pools {
		if s, err := netip.ParsePrefix(p.Subnet); err == nil && s.Contains(a) {
			return netip.PrefixFrom(a, s.Bits()).String()
		}
	}
	return a.String()
}
