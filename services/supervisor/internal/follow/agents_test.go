package follow_test

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// networks fakes the networks of netagent: n0, n1, and the default bridge.
type networks struct {
	networkv1.NetworkServiceClient
	w *world
}

func (f networks) GetNetwork(_ context.Context, req *networkv1.GetNetworkRequest,
	_ ...grpc.CallOption) (*networkv1.GetNetworkResponse, error) {
	name := req.GetReference()
	if !slices.Contains([]string{"n0", "n1", "bridge"}, name) || f.w.removed[name] {
		return nil, fault.NotFoundf("network "+name, "not found")
	}
	return &networkv1.GetNetworkResponse{Network: &networkv1.Network{Name: name, Bridge: "br-" + name}},
		f.w.request("find network", func() {})
}

// sandboxes fakes the sandbox of one container, which is connected to the networks of world.connected.
type sandboxes struct {
	networkv1.SandboxServiceClient
	w *world
}

// endpointsOf returns the endpoints on networks. Only that on n1 has a default route.
func endpointsOf(names []string) (out []*networkv1.Endpoint) {
	for _, name := range names {
		e := &networkv1.Endpoint{NetworkId: name, NetworkName: name, Bridge: "br-" + name, Ipv4Address: "10.0.0.2/24"}
		if name == "n1" {
			e.Ipv4Address, e.Ipv4Gateway = "10.1.0.2/24", "10.1.0.1"
		}
		out = append(out, e)
	}
	return out
}

func (f sandboxes) sandbox() *networkv1.Sandbox {
	return &networkv1.Sandbox{Owner: owner, Endpoints: endpointsOf(f.w.connected)}
}

func (f sandboxes) CreateSandbox(_ context.Context, req *networkv1.CreateSandboxRequest,
	_ ...grpc.CallOption) (*networkv1.CreateSandboxResponse, error) {
	err := f.w.request("name sandbox", func() { f.w.sandboxName = req.GetOwnerName() })
	return &networkv1.CreateSandboxResponse{Sandbox: f.sandbox()}, err
}

func (f sandboxes) ConnectEndpoint(_ context.Context, req *networkv1.ConnectEndpointRequest,
	_ ...grpc.CallOption) (*networkv1.ConnectEndpointResponse, error) {
	name := req.GetEndpoint().GetNetwork()
	if f.w.removed[name] {
		return nil, fault.NotFoundf("network "+name, "not found")
	}
	err := f.w.request("connect", func() {
		if !slices.Contains(f.w.connected, name) {
			f.w.connected = append(slices.Clone(f.w.connected), name)
		}
	})
	return &networkv1.ConnectEndpointResponse{Sandbox: f.sandbox()}, err
}

func (f sandboxes) DisconnectEndpoint(_ context.Context, req *networkv1.DisconnectEndpointRequest,
	_ ...grpc.CallOption) (*networkv1.DisconnectEndpointResponse, error) {
	if f.w.removed[req.GetNetwork()] {
		return nil, fault.NotFoundf("network "+req.GetNetwork(), "not found")
	}
	err := f.w.request("disconnect", func() {
		f.w.connected = slices.DeleteFunc(slices.Clone(f.w.connected),
			func(name string) bool { return name == req.GetNetwork() })
	})
	return &networkv1.DisconnectEndpointResponse{Sandbox: f.sandbox()}, err
}

func (f sandboxes) GetSandbox(context.Context, *networkv1.GetSandboxRequest,
	...grpc.CallOption) (*networkv1.GetSandboxResponse, error) {
	return &networkv1.GetSandboxResponse{Sandbox: f.sandbox()}, f.w.request("get sandbox", func() {})
}

func (f sandboxes) ListSandboxes(context.Context, *networkv1.ListSandboxesRequest,
	...grpc.CallOption) (*networkv1.ListSandboxesResponse, error) {
	return &networkv1.ListSandboxesResponse{Sandboxes: []*networkv1.Sandbox{f.sandbox()}},
		f.w.request("list sandboxes", func() {})
}

func (f sandboxes) ReserveAddresses(_ context.Context, req *networkv1.ReserveAddressesRequest,
	_ ...grpc.CallOption) (*networkv1.ReserveAddressesResponse, error) {
	err := f.w.request("reserve addresses", func() {
		f.w.reserved = nil
		for _, e := range req.GetEndpoints() {
			f.w.reserved = append(f.w.reserved, e.GetNetwork())
		}
	})
	return &networkv1.ReserveAddressesResponse{}, err
}

// publications fakes natagent.
type publications struct {
	natv1.PublicationServiceClient
	w *world
}

func (f publications) UpdatePublication(_ context.Context, req *natv1.UpdatePublicationRequest,
	_ ...grpc.CallOption) (*natv1.UpdatePublicationResponse, error) {
	p := req.GetPublication()
	var bindings []*natv1.PortBinding
	for _, m := range p.GetMappings() {
		bindings = append(bindings, &natv1.PortBinding{Protocol: m.GetProtocol(), HostIp: "0.0.0.0",
			HostPort: m.GetHostPort(), ContainerIp: p.GetIpv4Address(), ContainerPort: m.GetContainerPort()})
	}
	err := f.w.request("publish", func() {
		f.w.bindings, f.w.target, f.w.natName = bindings, p.GetIpv4Address(), p.GetOwnerName()
	})
	return &natv1.UpdatePublicationResponse{Bindings: bindings}, err
}

func (f publications) ListPublications(context.Context, *natv1.ListPublicationsRequest,
	...grpc.CallOption) (*natv1.ListPublicationsResponse, error) {
	return &natv1.ListPublicationsResponse{Publications: []*natv1.Publication{{Owner: owner, Bindings: f.w.bindings}}},
		f.w.request("list publications", func() {})
}

func (f publications) CheckHostFirewall(context.Context, *natv1.CheckHostFirewallRequest,
	...grpc.CallOption) (*natv1.CheckHostFirewallResponse, error) {
	return &natv1.CheckHostFirewallResponse{}, nil
}

// policies fakes the egress policies of natagent.
type policies struct {
	natv1.PolicyServiceClient
	w *world
}

func (f policies) PutPolicy(_ context.Context, req *natv1.PutPolicyRequest,
	_ ...grpc.CallOption) (*natv1.PutPolicyResponse, error) {
	return &natv1.PutPolicyResponse{}, f.w.request("put policy", func() { f.w.rules = req.GetRules() })
}

func (f policies) DeletePolicy(context.Context, *natv1.DeletePolicyRequest,
	...grpc.CallOption) (*natv1.DeletePolicyResponse, error) {
	return &natv1.DeletePolicyResponse{}, f.w.request("delete policy", func() { f.w.rules = nil })
}

func (f policies) ListPolicies(context.Context, *natv1.ListPoliciesRequest,
	...grpc.CallOption) (*natv1.ListPoliciesResponse, error) {
	resp := &natv1.ListPoliciesResponse{}
	if f.w.rules != nil {
		resp.Policies = []*natv1.Policy{{Owner: owner, Rules: f.w.rules}}
	}
	return resp, f.w.request("list policies", func() {})
}

// registrations fakes dnsagent.
type registrations struct {
	dnsv1.NameServiceClient
	w *world
}

func (f registrations) Update(_ context.Context, req *dnsv1.UpdateRequest,
	_ ...grpc.CallOption) (*dnsv1.UpdateResponse, error) {
	err := f.w.request("update names", func() {
		f.w.names, f.w.dnsRules = map[string]string{}, req.GetEgress()
		for _, n := range req.GetNetworks() {
			f.w.names[n.GetNetworkName()] = n.GetNames()[0]
		}
	})
	return &dnsv1.UpdateResponse{}, err
}
