package cni

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// services fakes the services. It records the calls that change something.
type services struct {
	networkv1.NetworkServiceClient
	networkv1.SandboxServiceClient
	sandbox  *networkv1.Sandbox // nil: none
	bindings []*natv1.PortBinding
	calls    []string
	fail     map[string]error // by call
	free     uint64
	grows    string
}

func (s *services) call(name string) error {
	s.calls = append(s.calls, name)
	return s.fail[name]
}

func (s *services) plugin() *Plugin {
	return &Plugin{Networks: s, Sandboxes: s, Publications: ports{s: s}, Names: names{s: s},
		Ready: func(context.Context) error { return s.fail["ready"] }}
}

func (s *services) GetNetwork(context.Context, *networkv1.GetNetworkRequest,
	...grpc.CallOption) (*networkv1.GetNetworkResponse, error) {
	return &networkv1.GetNetworkResponse{Network: &networkv1.Network{
		Pools: []*networkv1.Pool{{Subnet: "10.1.0.0/24", Free: s.free, GrowLimit: s.grows}}}}, s.fail["get network"]
}

func (s *services) GetSandbox(context.Context, *networkv1.GetSandboxRequest,
	...grpc.CallOption) (*networkv1.GetSandboxResponse, error) {
	if s.sandbox == nil {
		return nil, fault.NotFoundf("sandbox", "not found")
	}
	return &networkv1.GetSandboxResponse{Sandbox: s.sandbox}, nil
}

func (s *services) ListSandboxes(context.Context, *networkv1.ListSandboxesRequest,
	...grpc.CallOption) (*networkv1.ListSandboxesResponse, error) {
	return &networkv1.ListSandboxesResponse{Sandboxes: []*networkv1.Sandbox{s.sandbox,
		{Owner: id.New(), Endpoints: []*networkv1.Endpoint{{InterfaceName: "eth0"}}}}}, nil
}

func (s *services) CheckSandbox(context.Context, *networkv1.CheckSandboxRequest,
	...grpc.CallOption) (*networkv1.CheckSandboxResponse, error) {
	out := &networkv1.CheckSandboxResponse{Sandbox: s.sandbox}
	if s.fail["compare"] != nil {
		out.Differences = []string{s.fail["compare"].Error()}
	}
	return out, nil
}

func (s *services) CreateSandbox(_ context.Context, req *networkv1.CreateSandboxRequest,
	_ ...grpc.CallOption) (*networkv1.CreateSandboxResponse, error) {
	if s.sandbox != nil {
		return nil, fault.New(fault.Exists, "sandbox", "already exists with another configuration")
	}
	if err := s.call("create " + req.GetOwnerName() + " " + req.GetNetnsPath()); err != nil {
		return nil, err
	}
	s.sandbox = &networkv1.Sandbox{Owner: req.GetOwner(), Mode: req.GetMode(), ExternalPath: req.GetNetnsPath()}
	s.connect(req.GetEndpoints()[0])
	return &networkv1.CreateSandboxResponse{Sandbox: s.sandbox}, nil
}

func (s *services) ConnectEndpoint(_ context.Context, req *networkv1.ConnectEndpointRequest,
	_ ...grpc.CallOption) (*networkv1.ConnectEndpointResponse, error) {
	s.connect(req.GetEndpoint())
	return &networkv1.ConnectEndpointResponse{Sandbox: s.sandbox}, s.call("connect " + req.GetEndpoint().GetNetwork())
}

func (s *services) connect(spec *networkv1.EndpointSpec) {
	n := string(rune('1' + len(s.sandbox.Endpoints)))
	s.sandbox.Endpoints = append(s.sandbox.Endpoints, &networkv1.Endpoint{Id: n, NetworkId: "id-" + spec.GetNetwork(),
		NetworkName: spec.GetNetwork(), InterfaceName: spec.GetInterfaceName(), Labels: spec.GetLabels(),
		HostInterface: "veth" + n, MacAddress: "02:00:00:00:00:0" + n, GatewayPriority: spec.GetGatewayPriority(),
		Ipv4Address: "10." + n + ".0.2/24", Ipv4Gateway: "10." + n + ".0.1"})
}

func (s *services) DisconnectEndpoint(_ context.Context, req *networkv1.DisconnectEndpointRequest,
	_ ...grpc.CallOption) (*networkv1.DisconnectEndpointResponse, error) {
	return nil, s.call("disconnect " + req.GetNetwork())
}

func (s *services) Release(context.Context, *networkv1.ReleaseRequest,
	...grpc.CallOption) (*networkv1.ReleaseResponse, error) {
	return nil, s.call("release")
}

// ports fakes natagent.
type ports struct {
	natv1.PublicationServiceClient
	s *services
}

func (p ports) Publish(_ context.Context, req *natv1.PublishRequest,
	_ ...grpc.CallOption) (*natv1.PublishResponse, error) {
	if p.s.bindings != nil {
		return nil, fault.New(fault.Exists, "publication", "already exists")
	}
	for _, m := range req.GetMappings() {
		p.s.bindings = append(p.s.bindings, &natv1.PortBinding{Protocol: m.GetProtocol(), HostPort: m.GetHostPort(),
			ContainerPort: m.GetContainerPort(), ContainerIp: req.GetIpv4Address()})
	}
	return nil, p.s.fail["publish"]
}

func (p ports) ListPublications(context.Context, *natv1.ListPublicationsRequest,
	...grpc.CallOption) (*natv1.ListPublicationsResponse, error) {
	return &natv1.ListPublicationsResponse{Publications: []*natv1.Publication{{Owner: "other"},
		{Owner: Owner("c1"), Bindings: p.s.bindings}}}, nil
}

func (p ports) Release(context.Context, *natv1.ReleaseRequest, ...grpc.CallOption) (*natv1.ReleaseResponse, error) {
	p.s.bindings = nil
	return nil, p.s.fail["unpublish"]
}

// names fakes dnsagent.
type names struct {
	dnsv1.NameServiceClient
	s *services
}

func namesText(all []*dnsv1.NetworkRegistration) string {
	var out []string
	for _, n := range all {
		out = append(out, n.GetNetworkName()+"="+strings.Join(n.GetNames(), "+"))
	}
	return strings.Join(out, " ")
}

func (n names) Register(_ context.Context, req *dnsv1.RegisterRequest,
	_ ...grpc.CallOption) (*dnsv1.RegisterResponse, error) {
	return nil, n.s.call("register " + namesText(req.GetNetworks()))
}

func (n names) Update(_ context.Context, req *dnsv1.UpdateRequest,
	_ ...grpc.CallOption) (*dnsv1.UpdateResponse, error) {
	return nil, n.s.call("update " + namesText(req.GetNetworks()))
}

func (n names) Release(context.Context, *dnsv1.ReleaseRequest, ...grpc.CallOption) (*dnsv1.ReleaseResponse, error) {
	return nil, n.s.fail["unregister"]
}

var pod = Attachment{ContainerID: "c1", Interface: "eth0", Namespace: "/run/netns/one",
	Args: map[string]string{"K8S_POD_NAME": "web"}}

func config(t *testing.T, text string) Config {
	t.Helper()
	c, err := ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const podsConfig = `{"cniVersion": "1.1.0", "name": "pods", "type": "fairlead-cni", "network": "back",
	"runtimeConfig": {"aliases": {"pods": ["store", "web"]},
	"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "TCP", "hostIP": "0.0.0.0"},
		{"hostPort": 0, "containerPort": 81}]}}`
