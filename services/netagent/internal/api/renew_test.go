package api_test

import (
	"context"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

func TestSandboxesWatchAndRenumber(t *testing.T) {
	fake := &fakeSandboxes{get: func(string) (endpoint.Sandbox, error) { return sandbox(), nil }}
	client := networkv1.NewSandboxServiceClient(dial(t, fake))
	ctx, stop := context.WithCancel(t.Context())
	watch, err := client.WatchSandboxes(ctx, &networkv1.WatchSandboxesRequest{})
	if err == nil {
		_, err = watch.Recv()
	}

	if err != nil {
		t.Fatal(err)
	}

	stop()
	if _, err := watch.Recv(); err == nil {
		t.Error("got a message after cancellation")
	}

	renumbered, err := client.RenumberSandbox(t.Context(), &networkv1.RenumberSandboxRequest{Owner: "0wner"})
	if err != nil {
		t.Fatal(err)
	}

	want := sandboxMessage()
	want.RenumberPending = true
	same(t, renumbered.GetSandbox(), want)
	completed, err := client.CompleteRenumbering(t.Context(), &networkv1.CompleteRenumberingRequest{Owner: "0wner"})
	if err != nil {
		t.Fatal(err)
	}

	same(t, completed, &networkv1.CompleteRenumberingResponse{RemovedAddresses: []string{"172.17.0.2"}})
}

func TestUpdateNetworkConvertsRequest(t *testing.T) {
	client := networkv1.NewNetworkServiceClient(dial(t, &fakeSandboxes{}))
	mtu := uint32(1400)
	resp, err := client.UpdateNetwork(t.Context(),
		&networkv1.UpdateNetworkRequest{Reference: "n1", Mtu: &mtu, Ipv6: true, Renumber: true,
			Subnets: []string{"10.2.0.0/24", "fd00:2::/64"}, Labels: map[string]string{"a": "b"},
			Dns: &networkv1.NameServers{Addresses: []string{"9.9.9.9", "2620:fe::fe"}}})
	if err != nil {
		t.Fatal(err)
	}

	same(t, resp.GetNetwork(), &networkv1.Network{Name: "n1", IpamDriver: "default", Mtu: 1400, Ipv4: true, Ipv6: true,
		Labels: map[string]string{"a": "b"}, Dns: []string{"9.9.9.9", "2620:fe::fe"},
		Pools: []*networkv1.Pool{{Subnet: "10.2.0.0/24", Gateway: "10.2.0.1"},
			{Subnet: "fd00:2::/64", Gateway: "fd00:2::1"}},
		FormerPools: []*networkv1.Pool{{Subnet: "10.1.0.0/24", Gateway: "10.1.0.1"}},
		CreatedAt:   resp.GetNetwork().GetCreatedAt()})
	for _, bad := range []*networkv1.UpdateNetworkRequest{{Reference: "n1",
		Dns: &networkv1.NameServers{Addresses: []string{"x"}}},
		{Reference: "n1", Subnets: []string{"10.2.0.0/24"}}, {}} {
		if _, err := client.UpdateNetwork(t.Context(), bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: got %v", bad, err)
		}
	}

	for ref, kind := range map[string]fault.Kind{"": fault.Invalid, "n1": fault.Unavailable} {
		if _, err := client.WaitNetwork(t.Context(),
			&networkv1.WaitNetworkRequest{Reference: ref}); !fault.Is(err, kind) {
			t.Errorf("reference %q: got %v", ref, err)
		}
	}

	if done, err := client.WaitNetwork(t.Context(), &networkv1.WaitNetworkRequest{Reference: "bridge"}); err != nil ||
		done.GetNetwork().GetId() != "1d" {
		t.Errorf("got %v, %v", done, err)
	}
}
