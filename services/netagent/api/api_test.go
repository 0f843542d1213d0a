package api_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/faultrpc"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/netagent/api"
	"github.com/fairlead/fairlead/services/netagent/network"
)

var created = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fakeNetworks has the default bridge.
type fakeNetworks struct{}

func (fakeNetworks) List() []network.Network { return []network.Network{defaultBridge()} }

func (fakeNetworks) Find(ref string) (network.Network, error) {
	if ref != "bridge" {
		return network.Network{}, fault.NotFoundf("network "+ref, "not found")
	}
	return defaultBridge(), nil
}

func defaultBridge() network.Network {
	n := network.Settings{DefaultGateway: netip.MustParseAddr("172.17.0.254")}.WithDefaults().Predefined()[0]
	n.ID, n.CreatedAt = "1d", created
	return n
}

// fakeSandboxes answers with functions.
type fakeSandboxes struct {
	create func(network.Request) (network.Sandbox, error)
	get    func(owner string) (network.Sandbox, error)
	gone   []string
}

func (f *fakeSandboxes) Create(_ context.Context, r network.Request) (network.Sandbox, error) {
	return f.create(r)
}
func (f *fakeSandboxes) Get(owner string) (network.Sandbox, error) { return f.get(owner) }
func (f *fakeSandboxes) List() []network.Sandbox                   { return []network.Sandbox{sandbox()} }
func (f *fakeSandboxes) Release(_ context.Context, owner string) error {
	f.gone = append(f.gone, owner)
	return nil
}

func sandbox() network.Sandbox {
	return network.Sandbox{Owner: "0wner", Mode: network.Private, NetnsPath: "/run/netns/0wner", Endpoints: []network.Endpoint{{
		ID: "e1", NetworkID: "1d", NetworkName: "bridge", Interface: "eth0", HostInterface: "veth1", Bridge: "docker0",
		MAC: network.MACOf(netip.MustParseAddr("172.17.0.2")), IPv4: netip.MustParsePrefix("172.17.0.2/16"), Gateway4: netip.MustParseAddr("172.17.0.1")}}}
}

func sandboxMessage() *networkv1.Sandbox {
	return &networkv1.Sandbox{Owner: "0wner", Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE, NetnsPath: "/run/netns/0wner",
		Endpoints: []*networkv1.Endpoint{{Id: "e1", NetworkId: "1d", NetworkName: "bridge", InterfaceName: "eth0", HostInterface: "veth1",
			Bridge: "docker0", MacAddress: "02:42:ac:11:00:02", Ipv4Address: "172.17.0.2/16", Ipv4Gateway: "172.17.0.1"}}}
}

// dial serves the API in memory.
func dial(t *testing.T, s *fakeSandboxes) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		resp, err := next(ctx, req)
		return resp, faultrpc.ToStatus(err)
	}))
	api.New(fakeNetworks{}, s).Register(server)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(faultrpc.UnaryClient),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("want - got +:\n%s", d)
	}
}

func TestARequestBecomesTheDomainsWords(t *testing.T) {
	for name, c := range map[string]struct {
		req  *networkv1.CreateSandboxRequest
		want network.Request
	}{
		"private": {&networkv1.CreateSandboxRequest{Owner: "o", Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE,
			Endpoints: []*networkv1.EndpointSpec{{Network: "bridge"}, {Network: "b2"}}},
			network.Request{Owner: "o", Mode: network.Private, Networks: []string{"bridge", "b2"}}},
		"host":            {&networkv1.CreateSandboxRequest{Mode: networkv1.SandboxMode_SANDBOX_MODE_HOST}, network.Request{Mode: network.Host}},
		"no mode":         {&networkv1.CreateSandboxRequest{}, network.Request{}},
		"an unknown mode": {&networkv1.CreateSandboxRequest{Mode: 77}, network.Request{}},
	} {
		t.Run(name, func(t *testing.T) {
			client := networkv1.NewSandboxServiceClient(dial(t, &fakeSandboxes{create: func(r network.Request) (network.Sandbox, error) {
				same(t, r, c.want)
				return sandbox(), nil
			}}))
			resp, err := client.CreateSandbox(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			same(t, resp.GetSandbox(), sandboxMessage())
		})
	}
}

func TestSandboxesAreListedFetchedAndReleased(t *testing.T) {
	fake := &fakeSandboxes{get: func(owner string) (network.Sandbox, error) {
		if owner != "0wner" {
			return network.Sandbox{}, fault.NotFoundf("sandbox of "+owner, "not found")
		}
		return network.Sandbox{Owner: owner, Mode: network.Host}, nil
	}}
	client := networkv1.NewSandboxServiceClient(dial(t, fake))
	list, err := client.ListSandboxes(t.Context(), &networkv1.ListSandboxesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, list.GetSandboxes(), []*networkv1.Sandbox{sandboxMessage()})
	got, err := client.GetSandbox(t.Context(), &networkv1.GetSandboxRequest{Owner: "0wner"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got.GetSandbox(), &networkv1.Sandbox{Owner: "0wner", Mode: networkv1.SandboxMode_SANDBOX_MODE_HOST})
	if _, err := client.GetSandbox(t.Context(), &networkv1.GetSandboxRequest{Owner: "x"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown owner: %v", err)
	}
	if _, err := client.Release(t.Context(), &networkv1.ReleaseRequest{Owner: "0wner"}); err != nil {
		t.Fatal(err)
	}
	same(t, fake.gone, []string{"0wner"})
}

func TestNetworksAreListedAndFetched(t *testing.T) {
	client := networkv1.NewNetworkServiceClient(dial(t, &fakeSandboxes{}))
	want := &networkv1.Network{Id: "1d", Name: "bridge", Driver: "bridge", Predefined: true, Bridge: "docker0", Mtu: 1500, Masquerade: true, InterContainer: true,
		CreatedAt: timestamppb.New(created), Pools: []*networkv1.Pool{{Subnet: "172.17.0.0/16", Gateway: "172.17.0.1", ContainerGateway: "172.17.0.254"}}}
	list, err := client.ListNetworks(t.Context(), &networkv1.ListNetworksRequest{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, list.GetNetworks(), []*networkv1.Network{want})
	got, err := client.GetNetwork(t.Context(), &networkv1.GetNetworkRequest{Reference: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got.GetNetwork(), want)
	for ref, kind := range map[string]fault.Kind{"": fault.Invalid, "nosuch": fault.NotFound} {
		if _, err := client.GetNetwork(t.Context(), &networkv1.GetNetworkRequest{Reference: ref}); !fault.Is(err, kind) {
			t.Errorf("reference %q: %v", ref, err)
		}
	}
}
