package run_test

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// fakeNetworks has every network except nosuch. The reference n is a prefix of the ID of network
// n1.
type fakeNetworks struct{ networkv1.NetworkServiceClient }

func (fakeNetworks) GetNetwork(_ context.Context, req *networkv1.GetNetworkRequest,
	_ ...grpc.CallOption) (*networkv1.GetNetworkResponse, error) {
	name := req.GetReference()
	switch name {
	case "nosuch":
		return nil, fault.NotFoundf("network nosuch", "not found")
	case "n":
		name = "n1"
	}
	return &networkv1.GetNetworkResponse{Network: &networkv1.Network{Name: name, Bridge: "br0",
		Internal: name == "inside"}}, nil
}

type fakeSandboxes struct {
	networkv1.SandboxServiceClient
	h *host
}

func (f fakeSandboxes) CreateSandbox(_ context.Context, req *networkv1.CreateSandboxRequest,
	_ ...grpc.CallOption) (*networkv1.CreateSandboxResponse, error) {
	f.h.hold(req.GetOwner(), "sandbox")
	f.h.hold(req.GetOwner(), "endpoints")
	sb := &networkv1.Sandbox{Owner: req.GetOwner(), NetnsPath: "/proc/self/ns/net",
		Endpoints: []*networkv1.Endpoint{{Bridge: "br0", Ipv4Address: "172.17.0.2/16"}}}
	for _, e := range req.GetEndpoints() {
		sb.Endpoints[0].Internal = e.GetNetwork() == "inside"
	}
	f.h.mu.Lock()
	f.h.asked = append(f.h.asked, req)
	f.h.mu.Unlock()
	return &networkv1.CreateSandboxResponse{Sandbox: sb}, f.h.step("join network")
}

func (f fakeSandboxes) ConnectEndpoint(_ context.Context, req *networkv1.ConnectEndpointRequest,
	_ ...grpc.CallOption) (*networkv1.ConnectEndpointResponse, error) {
	f.h.hold(req.GetOwner(), "endpoint on "+req.GetEndpoint().GetNetwork())
	return &networkv1.ConnectEndpointResponse{
		Sandbox: &networkv1.Sandbox{Endpoints: []*networkv1.Endpoint{{Bridge: "br0", Ipv4Address: "172.17.0.2/16"},
			{NetworkName: req.GetEndpoint().GetNetwork(), NetworkId: req.GetEndpoint().GetNetwork(), Bridge: "br1",
				Ipv4Address: "172.18.0.2/16", Ipv4Gateway: "172.18.0.1"}}}}, f.h.step("connect")
}

func (f fakeSandboxes) DisconnectEndpoint(_ context.Context, req *networkv1.DisconnectEndpointRequest,
	_ ...grpc.CallOption) (*networkv1.DisconnectEndpointResponse, error) {
	return &networkv1.DisconnectEndpointResponse{
			Sandbox: &networkv1.Sandbox{Endpoints: []*networkv1.Endpoint{{Bridge: "br0",
				Ipv4Address: "172.17.0.2/16"}}}},
		f.h.drop(req.GetOwner(), "endpoint on "+req.GetNetwork())
}

func (f fakeSandboxes) ReserveAddresses(_ context.Context, req *networkv1.ReserveAddressesRequest,
	_ ...grpc.CallOption) (*networkv1.ReserveAddressesResponse, error) {
	if len(req.GetEndpoints()) == 0 {
		return &networkv1.ReserveAddressesResponse{}, f.h.drop(req.GetOwner(), "addresses")
	}
	f.h.hold(req.GetOwner(), "addresses")
	return &networkv1.ReserveAddressesResponse{}, f.h.step("reserve addresses")
}

// fixed reports whether a container requests a static address.
func (h *host) fixed(uid string) bool {
	c, err := h.store.GetContainer(uid)
	return err == nil && c.Config.Network.Fixed()
}

func (f fakeSandboxes) Release(_ context.Context, req *networkv1.ReleaseRequest,
	_ ...grpc.CallOption) (*networkv1.ReleaseResponse, error) {
	if req.GetKeepAddresses() {
		if f.h.fixed(req.GetOwner()) {
			f.h.hold(req.GetOwner(), "addresses")
		}
	} else if err := f.h.drop(req.GetOwner(), "addresses"); err != nil {
		return nil, err
	}
	if err := f.h.drop(req.GetOwner(), "endpoints"); err != nil || req.GetKeepNamespace() {
		return &networkv1.ReleaseResponse{}, err
	}
	return &networkv1.ReleaseResponse{}, f.h.drop(req.GetOwner(), "sandbox")
}

func (f fakeSandboxes) ListSandboxes(ctx context.Context, _ *networkv1.ListSandboxesRequest,
	_ ...grpc.CallOption) (*networkv1.ListSandboxesResponse, error) {
	resp := &networkv1.ListSandboxesResponse{ReservationOwners: f.h.holders("addresses")}
	f.h.mu.Lock()
	renumbering := f.h.renumbering
	f.h.mu.Unlock()
	if renumbering != nil {
		sb, err := f.GetSandbox(ctx, nil)
		resp.Sandboxes = append(resp.Sandboxes, sb.GetSandbox())
		return resp, err
	}

	for _, uid := range f.h.holders("sandbox") {
		resp.Sandboxes = append(resp.Sandboxes, f.h.sandboxOf(uid))
	}

	return resp, nil
}

// sandboxOf returns the sandbox of an owner, with an endpoint on n1 if it is connected.
func (h *host) sandboxOf(uid string) *networkv1.Sandbox {
	sb := &networkv1.Sandbox{Owner: uid,
		Endpoints: []*networkv1.Endpoint{{Bridge: "br0", Ipv4Address: "172.17.0.2/16"}}}
	if slices.Contains(h.heldBy(uid), "external") {
		sb.Mode = networkv1.SandboxMode_SANDBOX_MODE_EXTERNAL
	}
	if slices.Contains(h.heldBy(uid), "endpoint on n1") {
		sb.Endpoints = append(sb.Endpoints, &networkv1.Endpoint{NetworkName: "n1", NetworkId: "n1", Bridge: "br1",
			Ipv4Address: "172.18.0.2/16", Ipv4Gateway: "172.18.0.1"})
	}
	return sb
}

type fakePublications struct {
	natv1.PublicationServiceClient
	h *host
}

func (f fakePublications) Publish(_ context.Context, req *natv1.PublishRequest,
	_ ...grpc.CallOption) (*natv1.PublishResponse, error) {
	f.h.hold(req.GetOwner(), "ports")
	f.h.mu.Lock()
	f.h.forwardedTo = append(f.h.forwardedTo, req.GetIpv4Address())
	f.h.note("forward to " + req.GetIpv4Address())
	f.h.mu.Unlock()
	port := uint32(8080)
	for _, m := range req.GetMappings() {
		port = m.GetHostPort()
	}
	return &natv1.PublishResponse{Bindings: []*natv1.PortBinding{{Protocol: natv1.Protocol_PROTOCOL_TCP, HostPort: port,
		ContainerPort: 80}}}, f.h.step("publish ports")
}

func (f fakePublications) UpdatePublication(ctx context.Context, req *natv1.UpdatePublicationRequest,
	_ ...grpc.CallOption) (*natv1.UpdatePublicationResponse, error) {
	resp, err := f.Publish(ctx, req.GetPublication())
	for i, m := range req.GetPublication().GetMappings() {
		if i == 0 {
			resp.Bindings = nil
		}
		resp.Bindings = append(resp.Bindings,
			&natv1.PortBinding{Protocol: m.GetProtocol(), HostIp: m.GetHostIp(), HostPort: m.GetHostPort(),
				ContainerPort: m.GetContainerPort()})
	}

	f.h.mu.Lock()
	defer f.h.mu.Unlock()

	if f.h.published = resp.GetBindings(); f.h.onPublished != nil {
		f.h.onPublished()
	}

	return &natv1.UpdatePublicationResponse{Bindings: resp.GetBindings()}, err
}

// CheckHostFirewall reports every port from 9000 as blocked.
func (f fakePublications) CheckHostFirewall(_ context.Context, req *natv1.CheckHostFirewallRequest,
	_ ...grpc.CallOption) (*natv1.CheckHostFirewallResponse, error) {
	if f.h.slow != nil {
		<-f.h.slow
	}
	resp := &natv1.CheckHostFirewallResponse{}
	for _, b := range req.GetBindings() {
		if b.GetHostPort() >= 9000 {
			resp.Warnings = append(resp.Warnings, fmt.Sprintf("port %d is closed", b.GetHostPort()))
		}
	}
	return resp, f.h.step("check firewall")
}

func (f fakePublications) Release(_ context.Context, req *natv1.ReleaseRequest,
	_ ...grpc.CallOption) (*natv1.ReleaseResponse, error) {
	return &natv1.ReleaseResponse{}, f.h.drop(req.GetOwner(), "ports")
}

func (f fakePublications) ListPublications(context.Context, *natv1.ListPublicationsRequest,
	...grpc.CallOption) (*natv1.ListPublicationsResponse, error) {
	resp := &natv1.ListPublicationsResponse{}
	for _, uid := range f.h.holders("ports") {
		resp.Publications = append(resp.Publications, &natv1.Publication{Owner: uid, Bindings: f.h.published})
	}
	return resp, nil
}

type fakeNames struct {
	dnsv1.NameServiceClient
	h *host
}

func (f fakeNames) Register(_ context.Context, req *dnsv1.RegisterRequest,
	_ ...grpc.CallOption) (*dnsv1.RegisterResponse, error) {
	f.h.hold(req.GetOwner(), "names")
	name := "web"
	if req.GetFileSource() == dnsv1.FileSource_FILE_SOURCE_SHARED {
		name = req.GetOwner()[:12]
	}
	return &dnsv1.RegisterResponse{Files: &dnsv1.NameFiles{Hostname: name, HostsPath: "/names/" + req.GetOwner()}},
		f.h.step("register names")
}

func (f fakeNames) Update(_ context.Context, req *dnsv1.UpdateRequest, _ ...grpc.CallOption) (*dnsv1.UpdateResponse,
	error) {
	f.h.mu.Lock()
	f.h.known = append(f.h.known, req)
	f.h.mu.Unlock()
	if f.h.onNamesUpdated != nil {
		f.h.onNamesUpdated()
	}
	return &dnsv1.UpdateResponse{}, f.h.step("update names")
}

func (f fakeNames) Release(_ context.Context, req *dnsv1.ReleaseRequest, _ ...grpc.CallOption) (*dnsv1.ReleaseResponse,
	error) {
	return &dnsv1.ReleaseResponse{}, f.h.drop(req.GetOwner(), "names")
}

func (f fakeNames) ListOwners(context.Context, *dnsv1.ListOwnersRequest, ...grpc.CallOption) (*dnsv1.ListOwnersResponse,
	error) {
	return &dnsv1.ListOwnersResponse{Owners: f.h.holders("names")}, nil
}

// fakePolicies is natagent's policies, without any.
type fakePolicies struct{ natv1.PolicyServiceClient }

func (fakePolicies) ListPolicies(context.Context, *natv1.ListPoliciesRequest,
	...grpc.CallOption) (*natv1.ListPoliciesResponse, error) {
	return &natv1.ListPoliciesResponse{}, nil
}

func (fakePolicies) PutPolicy(context.Context, *natv1.PutPolicyRequest,
	...grpc.CallOption) (*natv1.PutPolicyResponse, error) {
	return &natv1.PutPolicyResponse{}, nil
}

func (fakePolicies) DeletePolicy(context.Context, *natv1.DeletePolicyRequest,
	...grpc.CallOption) (*natv1.DeletePolicyResponse, error) {
	return &natv1.DeletePolicyResponse{}, nil
}
