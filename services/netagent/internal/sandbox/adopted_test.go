package sandbox_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace/namespacetest"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// recorded is a driver that fails if an endpoint is changed in a namespace without a record.
type recorded struct {
	drivertest.Fake
	t     *testing.T
	store *store.Store
	owner string
	calls int
}

func (r *recorded) check(what string) {
	if r.calls++; r.owner != "" {
		if _, ok := r.store.Sandbox(r.owner); !ok {
			r.t.Errorf("%s: the sandbox has no record", what)
		}
	}
}

func (r *recorded) Require(context.Context, store.Network) error { return nil }

func (r *recorded) Attach(*kernel.Namespace, network.Network, string, endpoint.Endpoint) error {
	r.check("attach")
	return nil
}

func (r *recorded) Remove(network.Network, endpoint.Sandbox, endpoint.Endpoint) error {
	r.check("remove")
	return nil
}

// TestExternalNamespacesAreRecordedAllTheTime: an agent that is killed at any step finds what it has put into a
// namespace that remains.
func TestExternalNamespacesAreRecordedAllTheTime(t *testing.T) {
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	n := network.Network{ID: id.New(), Name: "a", Driver: network.DriverBridge, Spec: network.Spec{
		Pools: []network.Pool{{Subnet: netip.MustParsePrefix("10.0.0.0/29"),
			Gateway: netip.MustParseAddr("10.0.0.1")}},
		Bridge: &network.Bridge{Device: "bra"}}}
	if err := s.AddNetwork(store.Network{Network: n}); err != nil {
		t.Fatal(err)
	}
	d := &recorded{t: t, store: s, owner: id.New()}
	var keeper namespacetest.Keeper
	keeper.Pin("/pod", &namespacetest.Namespace{})
	m, _ := newManager(s, ipam.NewAllocator(time.Now), driver.Set{network.DriverBridge: d}, nil, &keeper,
		sandbox.Config{Bringup: d, Dir: t.TempDir()})
	if _, err := m.Recover(); err != nil {
		t.Fatal(err)
	}
	m.AcceptRequests()

	req := endpoint.Request{Owner: d.owner, Mode: endpoint.Private, External: "/pod",
		Endpoints: []endpoint.Spec{{Network: "a"}}}
	if _, err := m.Create(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if err := m.Release(t.Context(), d.owner, endpoint.ReleaseKeep{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Sandbox(d.owner); ok || d.calls != 2 {
		t.Errorf("after the release: record %t, %d calls", ok, d.calls)
	}
}
