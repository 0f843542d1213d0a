package inspect

import (
	"cmp"
	"maps"
	"strconv"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

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
	Attachable bool // of Docker's swarms, as Ingress is: never
	Ingress    bool
	ConfigFrom ConfigFrom
	ConfigOnly bool
	Containers map[string]NetworkContainer
	Options    map[string]string
	Labels     map[string]string
	DNS        []string `json:",omitempty"`
	Status     NetworkStatus
}

// ConfigFrom is where a network's configuration comes from.
type ConfigFrom struct{ Network string }

// IPAM is where a network's addresses come from.
type IPAM struct {
	Driver  string
	Options map[string]string // none has any
	Config  []Pool
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

// FromNetwork makes the document of a network and of those among some containers that are on it. The options are those that were
// given; for the default bridge, which nobody has made, those that it has.
func FromNetwork(n *networkv1.Network, containers []*containerv1.Container) *Network {
	doc := &Network{Name: n.GetName(), ID: n.GetId(), Created: stamp(n.GetCreatedAt()), Scope: "local", Driver: n.GetDriver(),
		EnableIPv4: n.GetIpv4(), EnableIPv6: n.GetIpv6(), Internal: n.GetInternal(),
		ConfigFrom: ConfigFrom{n.GetConfigFrom()}, ConfigOnly: n.GetConfigOnly(), IPAM: IPAM{Driver: cmp.Or(n.GetIpamDriver(), "default"), Options: map[string]string{}, Config: []Pool{}},
		Containers: containersOn(n.GetId(), containers), Options: map[string]string{}, Labels: map[string]string{}, DNS: n.GetDns()}
	doc.Status.IPAM.Subnets = map[string]SubnetStatus{}
	for _, p := range n.GetPools() {
		doc.IPAM.Config = append(doc.IPAM.Config, Pool{p.GetSubnet(), p.GetIpRange(), p.GetGateway(), p.GetAuxAddresses()})
		doc.Status.IPAM.Subnets[p.GetSubnet()] = SubnetStatus{p.GetUsed(), p.GetFree()}
	}
	if n.GetPredefined() && n.GetBridge() != "" {
		doc.Options["com.docker.network.bridge.name"] = n.GetBridge()
		doc.Options["com.docker.network.bridge.enable_icc"] = strconv.FormatBool(n.GetIcc())
		doc.Options["com.docker.network.bridge.enable_ip_masquerade"] = strconv.FormatBool(n.GetMasquerade())
		doc.Options["com.docker.network.driver.mtu"] = strconv.Itoa(int(n.GetMtu()))
	}
	maps.Copy(doc.Options, n.GetOptions())
	maps.Copy(doc.Labels, n.GetLabels())
	return doc
}

func containersOn(networkID string, containers []*containerv1.Container) map[string]NetworkContainer {
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
