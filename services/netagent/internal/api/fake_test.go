package api_test

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"

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
