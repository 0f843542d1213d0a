package api_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

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
