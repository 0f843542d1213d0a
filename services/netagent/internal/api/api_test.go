package api_test

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/api"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

var created = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fakeNetworks contains the default bridge.
type fakeNetworks struct{}

func (fakeNetworks) List() []network.Network { return []network.Network{defaultBridge()} }

func (fakeNetworks) Find(ref string) (network.Network, error) {
	if ref != "bridge" {
		return network.Network{}, fault.NotFoundf("network "+ref, "not found")
	}
	return defaultBridge(), nil
}

func (fakeNetworks) Create(_ context.Context, w network.Draft) (network.Network, error) {
	n, err := w.Build()
	for _, p := range w.Pools {
		n.Spec.Pools = append(n.Spec.Pools, p.Assign(p.Subnet, true))
	}
	n.CreatedAt = created
	return n, err
}

func (fakeNetworks) Update(_ context.Context, ref string, e network.Update) (network.Network, error) {
	return e.Apply(network.Network{Name: ref,
		Spec: network.Spec{Pools: []network.Pool{{Subnet: netip.MustParsePrefix("10.1.0.0/24"),
			Gateway: netip.MustParseAddr("10.1.0.1")}}}})
}

func (fakeNetworks) WaitConverged(_ context.Context, ref string) (network.Network, error) {
	if ref != "bridge" {
		return network.Network{}, fault.New(fault.Unavailable, "network "+ref, "containers are not updated yet: web")
	}
	return defaultBridge(), nil
}

func (fakeNetworks) Delete(_ context.Context, ref string) (string, error) {
	if ref != "n1" {
		return "", fault.NotFoundf("network "+ref, "not found")
	}
	return "1d", nil
}

func (fakeNetworks) Prune(_ context.Context, s network.Filter) ([]string, error) {
	if len(s.Labels) == 0 {
		return nil, fault.New(fault.Unavailable, "network n1", "its link cannot be deleted")
	}
	return append(append(s.Labels, s.Without...), s.Before.UTC().String()), nil
}

func (fakeNetworks) Warnings() func(network.Network) []string {
	return func(network.Network) []string { return nil }
}

func (fakeNetworks) PoolUsage(n network.Network) []ipam.Usage {
	return make([]ipam.Usage, len(n.Spec.Pools))
}

func defaultBridge() network.Network {
	n := network.BridgeSettings{DefaultGateway: netip.MustParseAddr("172.17.0.254")}.WithDefaults().Predefined()[0]
	n.ID, n.CreatedAt = "1d", created
	return n
}

// fakeSandboxes delegates to functions.
type fakeSandboxes struct {
	create func(endpoint.Request) (endpoint.Sandbox, error)
	get    func(owner string) (endpoint.Sandbox, error)
	gone   []string
}

func (f *fakeSandboxes) Create(_ context.Context, r endpoint.Request) (endpoint.Sandbox, error) {
	return f.create(r)
}
func (f *fakeSandboxes) Get(owner string) (endpoint.Sandbox, error) { return f.get(owner) }
func (f *fakeSandboxes) List() []endpoint.Sandbox                   { return []endpoint.Sandbox{sandbox()} }
func (f *fakeSandboxes) ReservationOwners() []string                { return []string{"stopped"} }
func (f *fakeSandboxes) Connect(_ context.Context, owner string, spec endpoint.Spec) (endpoint.Sandbox, error) {
	return f.create(endpoint.Request{Owner: owner, Endpoints: []endpoint.Spec{spec}})
}

func (f *fakeSandboxes) Disconnect(_ context.Context, owner, ref string) (endpoint.Sandbox, error) {
	return f.create(endpoint.Request{Owner: owner, OwnerName: ref})
}

func (f *fakeSandboxes) Reserve(_ context.Context, owner string, specs []endpoint.Spec) error {
	_, err := f.create(endpoint.Request{Owner: owner, Endpoints: specs})
	return err
}

func (f *fakeSandboxes) SetBandwidth(owner string, limit bandwidth.Limit) error {
	f.gone = append(f.gone, owner+" "+limit.String())
	return nil
}

func (f *fakeSandboxes) Release(_ context.Context, owner string, _ endpoint.ReleaseKeep) error {
	f.gone = append(f.gone, owner)
	return nil
}

func (f *fakeSandboxes) Compare(owner string) ([]string, error) {
	return []string{"eth0 of " + owner + " is missing"}, nil
}

func (f *fakeSandboxes) NeedsRenumbering(sb endpoint.Sandbox) bool {
	return len(sb.Endpoints) > 0 && sb.Endpoints[0].Renumbering
}

// Watch notifies once.
func (f *fakeSandboxes) Watch() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	c <- struct{}{}
	return c, func() { f.gone = append(f.gone, "watch") }
}

func (f *fakeSandboxes) Renumber(_ context.Context, owner string) (endpoint.Sandbox, error) {
	sb, err := f.get(owner)
	sb.Endpoints[0].Renumbering = true
	return sb, err
}

func (f *fakeSandboxes) CompleteRenumbering(_ context.Context, owner string) ([]netip.Addr, error) {
	sb, err := f.get(owner)
	return []netip.Addr{sb.Endpoints[0].IPv4.Addr()}, err
}

func sandbox() endpoint.Sandbox {
	return endpoint.Sandbox{Owner: "0wner", Mode: endpoint.Private, NetnsPath: "/run/netns/0wner",
		Endpoints: []endpoint.Endpoint{{
			ID: "e1", NetworkID: "1d", NetworkName: "bridge", Interface: "eth0", HostInterface: "veth1",
			Bridge: "docker0",
			MAC:    network.MACOf(netip.MustParseAddr("172.17.0.2")), IPv4: netip.MustParsePrefix("172.17.0.2/16"),
			Gateway4: netip.MustParseAddr("172.17.0.1")}}}
}

func sandboxMessage() *networkv1.Sandbox {
	return &networkv1.Sandbox{Owner: "0wner", Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE,
		NetnsPath: "/run/netns/0wner",
		Endpoints: []*networkv1.Endpoint{{Id: "e1", NetworkId: "1d", NetworkName: "bridge", InterfaceName: "eth0",
			HostInterface: "veth1",
			Bridge:        "docker0", MacAddress: "02:42:ac:11:00:02", Ipv4Address: "172.17.0.2/16",
			Ipv4Gateway: "172.17.0.1"}}}
}

// dial serves the API in memory and returns a connection to it.
func dial(t *testing.T, s *fakeSandboxes) *grpc.ClientConn {
	t.Helper()

	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo,
		next grpc.UnaryHandler) (any, error) {
		resp, err := next(ctx, req)
		return resp, faultrpc.ToStatus(err)
	}))
	api.New(api.Config{Networks: fakeNetworks{}, Sandboxes: s}).Register(server)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(faultrpc.UnaryClient),
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

// sameValue compares Go values.
func sameValue(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCreateSandboxConvertsRequest(t *testing.T) {
	for name, c := range map[string]struct {
		req  *networkv1.CreateSandboxRequest
		want endpoint.Request
	}{
		"private": {&networkv1.CreateSandboxRequest{Owner: "o", Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE,
			Endpoints: []*networkv1.EndpointSpec{{Network: "bridge"}, {Network: "b2"}}},
			endpoint.Request{Owner: "o", Mode: endpoint.Private,
				Endpoints: []endpoint.Spec{{Network: "bridge"}, {Network: "b2"}}}},
		"all options": {&networkv1.CreateSandboxRequest{Owner: "o", OwnerName: "web",
			Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE,
			Endpoints: []*networkv1.EndpointSpec{{Network: "b2", Ipv4Address: "10.0.0.5", Ipv6Address: "fd00::5",
				MacAddress:    "02:00:00:00:00:01",
				InterfaceName: "lan", GatewayPriority: -3, LinkLocalAddresses: []string{"169.254.7.7"},
				Sysctls: []string{"net.ipv4.conf.IFNAME.log_martians=1"}}}},
			endpoint.Request{Owner: "o", OwnerName: "web", Mode: endpoint.Private,
				Endpoints: []endpoint.Spec{{Network: "b2",
					IPv4: netip.MustParseAddr("10.0.0.5"), IPv6: netip.MustParseAddr("fd00::5"),
					MAC:       "02:00:00:00:00:01",
					Interface: "lan", Priority: -3,
					LinkLocal: []netip.Addr{netip.MustParseAddr("169.254.7.7")},
					Sysctls:   []string{"net.ipv4.conf.IFNAME.log_martians=1"}}}}},
		"host": {&networkv1.CreateSandboxRequest{Mode: networkv1.SandboxMode_SANDBOX_MODE_HOST},
			endpoint.Request{Mode: endpoint.Host}},
		"no mode":         {&networkv1.CreateSandboxRequest{}, endpoint.Request{}},
		"an unknown mode": {&networkv1.CreateSandboxRequest{Mode: 77}, endpoint.Request{}},
	} {
		t.Run(name, func(t *testing.T) {
			client := networkv1.NewSandboxServiceClient(dial(t,
				&fakeSandboxes{create: func(r endpoint.Request) (endpoint.Sandbox, error) {
					sameValue(t, r, c.want)
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

func TestSandboxesListGetAndRelease(t *testing.T) {
	fake := &fakeSandboxes{get: func(owner string) (endpoint.Sandbox, error) {
		if owner != "0wner" {
			return endpoint.Sandbox{}, fault.NotFoundf("sandbox of "+owner, "not found")
		}
		return endpoint.Sandbox{Owner: owner, Mode: endpoint.Host}, nil
	}}
	client := networkv1.NewSandboxServiceClient(dial(t, fake))
	list, err := client.ListSandboxes(t.Context(), &networkv1.ListSandboxesRequest{})
	if err != nil {
		t.Fatal(err)
	}

	same(t, list.GetSandboxes(), []*networkv1.Sandbox{sandboxMessage()})
	if got := list.GetReservationOwners(); !slices.Equal(got, []string{"stopped"}) {
		t.Errorf("got owners of reservations %v", got)
	}
	got, err := client.GetSandbox(t.Context(), &networkv1.GetSandboxRequest{Owner: "0wner"})
	if err != nil {
		t.Fatal(err)
	}

	same(t, got.GetSandbox(), &networkv1.Sandbox{Owner: "0wner", Mode: networkv1.SandboxMode_SANDBOX_MODE_HOST})
	if _, err := client.GetSandbox(t.Context(),
		&networkv1.GetSandboxRequest{Owner: "x"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown owner: got %v", err)
	}

	if _, err := client.Release(t.Context(), &networkv1.ReleaseRequest{Owner: "0wner"}); err != nil {
		t.Fatal(err)
	}

	same(t, fake.gone, []string{"0wner"})
}

func TestNetworksListAndGet(t *testing.T) {
	client := networkv1.NewNetworkServiceClient(dial(t, &fakeSandboxes{}))
	want := &networkv1.Network{Id: "1d", Name: "bridge", Driver: "bridge", Scope: "local", Predefined: true,
		Bridge: "docker0",
		Mtu:    1500, Masquerade: true, Icc: true, Ipv4: true, IpamDriver: "default",
		CreatedAt: timestamppb.New(created), Pools: []*networkv1.Pool{{Subnet: "172.17.0.0/16", Gateway: "172.17.0.1",
			ContainerGateway: "172.17.0.254"}}}
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
		if _, err := client.GetNetwork(t.Context(),
			&networkv1.GetNetworkRequest{Reference: ref}); !fault.Is(err, kind) {
			t.Errorf("reference %q: got %v", ref, err)
		}
	}
}

func TestEndpointsConnectAndDisconnect(t *testing.T) {
	var got []endpoint.Request
	client := networkv1.NewSandboxServiceClient(dial(t,
		&fakeSandboxes{create: func(r endpoint.Request) (endpoint.Sandbox, error) {
			got = append(got, r)
			return sandbox(), nil
		}}))
	connected, err := client.ConnectEndpoint(t.Context(),
		&networkv1.ConnectEndpointRequest{Owner: "o", Endpoint: &networkv1.EndpointSpec{Network: "b2"}})
	if err != nil {
		t.Fatal(err)
	}

	same(t, connected.GetSandbox(), sandboxMessage())
	if _, err := client.DisconnectEndpoint(t.Context(),
		&networkv1.DisconnectEndpointRequest{Owner: "o", Network: "b2"}); err != nil {
		t.Fatal(err)
	}

	if _, err := client.ReserveAddresses(t.Context(),
		&networkv1.ReserveAddressesRequest{Owner: "o",
			Endpoints: []*networkv1.EndpointSpec{{Network: "b3"}}}); err != nil {
		t.Fatal(err)
	}

	sameValue(t, got, []endpoint.Request{{Owner: "o", Endpoints: []endpoint.Spec{{Network: "b2"}}},
		{Owner: "o", OwnerName: "b2"},
		{Owner: "o", Endpoints: []endpoint.Spec{{Network: "b3"}}}})
	for _, e := range []*networkv1.EndpointSpec{{Network: "b2", Ipv4Address: "1.2.3"},
		{Network: "b2", Ipv6Address: "x"}} {
		if _, err := client.ConnectEndpoint(t.Context(),
			&networkv1.ConnectEndpointRequest{Owner: "o", Endpoint: e}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: got %v", e, err)
		}
	}
}

func TestNetworksPrune(t *testing.T) {
	client := networkv1.NewNetworkServiceClient(dial(t, &fakeSandboxes{}))
	for until, want := range map[*timestamppb.Timestamp]string{nil: time.Time{}.String(),
		timestamppb.New(created): created.UTC().String()} {
		resp, err := client.PruneNetworks(t.Context(),
			&networkv1.PruneNetworksRequest{Until: until, Labels: []string{"a", "b=1"}, ExcludeLabels: []string{"c"}})
		if err != nil || !slices.Equal(resp.GetDeleted(), []string{"a", "b=1", "c", want}) {
			t.Errorf("until %v: got %v, %v", until, resp, err)
		}
	}

	if _, err := client.PruneNetworks(t.Context(),
		&networkv1.PruneNetworksRequest{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("deletion fails: got %v", err)
	}
}

func TestNetworksCreateAndDelete(t *testing.T) {
	client := networkv1.NewNetworkServiceClient(dial(t, &fakeSandboxes{}))
	on := true
	req := &networkv1.CreateNetworkRequest{Name: "n1", Internal: true, Ipv6: &on, Labels: map[string]string{"a": "b"},
		Options: map[string]string{network.OptMTU: "1400", network.OptHostBinding: "127.0.0.1"},
		Pools: []*networkv1.PoolSpec{{Subnet: "10.1.0.0/24", IpRange: "10.1.0.128/25", Gateway: "10.1.0.9",
			AuxAddresses: map[string]string{"x": "10.1.0.5"}},
			{Subnet: "fd00:1::/64"}}}
	made, err := client.CreateNetwork(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}

	same(t, made.GetNetwork(), &networkv1.Network{Name: "n1", Driver: "bridge", Scope: "local", Internal: true,
		Ipv4: true, Ipv6: true,
		Mtu: 1400, Masquerade: true,
		Icc: true, IpamDriver: "default", Labels: req.GetLabels(), Options: req.GetOptions(), HostBinding: "127.0.0.1",
		CreatedAt: timestamppb.New(created),
		Pools: []*networkv1.Pool{{Subnet: "10.1.0.0/24", IpRange: "10.1.0.128/25", Gateway: "10.1.0.9",
			AuxAddresses: map[string]string{"x": "10.1.0.5"}},
			{Subnet: "fd00:1::/64", Gateway: "fd00:1::1"}}})
	for _, p := range []*networkv1.PoolSpec{{Subnet: "x"}, {Subnet: "10.1.0.0"}, {IpRange: "1/2"}, {Gateway: "x"},
		{AuxAddresses: map[string]string{"x": "y"}}} {
		if _, err := client.CreateNetwork(t.Context(),
			&networkv1.CreateNetworkRequest{Name: "n1",
				Pools: []*networkv1.PoolSpec{p}}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: got %v", p, err)
		}
	}

	gone, err := client.DeleteNetwork(t.Context(), &networkv1.DeleteNetworkRequest{Reference: "n1"})
	if err != nil || gone.GetId() != "1d" {
		t.Errorf("got %v, %v", gone, err)
	}

	for ref, kind := range map[string]fault.Kind{"": fault.Invalid, "nosuch": fault.NotFound} {
		if _, err := client.DeleteNetwork(t.Context(),
			&networkv1.DeleteNetworkRequest{Reference: ref}); !fault.Is(err, kind) {
			t.Errorf("reference %q: got %v", ref, err)
		}
	}
}
