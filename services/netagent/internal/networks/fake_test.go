package networks_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/leases"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace/namespacetest"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/networks"
	"github.com/fairlead/fairlead/services/netagent/internal/renumber"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// world is an agent without a kernel: a real store, and fakes of the host, of natagent, of the driver
// and of the namespaces.
type world struct {
	*testing.T
	store     *store.Store
	driver    *drivertest.Fake
	pins      *namespacetest.Keeper
	host      *fakeHost
	networks  *networks.Manager
	sandboxes *sandbox.Manager
	renumber  *renumber.Renumberer
	allocator *ipam.Allocator
}

// fakeHost is a host without links and routes, on which networks are applied.
type fakeHost struct {
	networks.Host
	fail   error // of Sync
	synced []string
}

func (h *fakeHost) Link(string) (kernel.Link, bool, error)                { return kernel.Link{}, false, nil }
func (h *fakeHost) Routes() ([]kernel.Route, error)                       { return nil, nil }
func (h *fakeHost) RoutedPrefixes() ([]netip.Prefix, error)               { return nil, nil }
func (h *fakeHost) Remove(context.Context, network.Network) error         { return nil }
func (h *fakeHost) Require(context.Context, store.Network) error          { return nil }
func (h *fakeHost) RemoveAddresses(network.Network, []netip.Prefix) error { return nil }

func (h *fakeHost) Sync(_ context.Context, n network.Network) error {
	var subnets []string
	for _, p := range n.AllPools() {
		subnets = append(subnets, p.Subnet.String())
	}
	h.synced = append(h.synced, n.Name+" "+strings.Join(subnets, " "))
	return h.fail
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w := &world{T: t, store: s, driver: &drivertest.Fake{}, pins: &namespacetest.Keeper{}, host: &fakeHost{}}
	w.restart()
	return w
}

// restart creates the parts again from the store, as a process does after a crash.
func (w *world) restart() {
	w.Helper()
	drivers, locks := driver.Set{network.DriverBridge: w.driver}, lock.NewChecked()
	w.allocator = ipam.NewAllocator(time.Now)
	addresses := address.New(w.store, w.allocator, nil)
	syncer := attach.New(attach.Config{Store: w.store, Drivers: drivers, Locks: locks, Namespaces: w.pins})
	held := leases.New(leases.Config{Store: w.store, Attach: syncer, Locks: locks, Namespaces: w.pins})
	w.networks = networks.New(networks.Config{Store: w.store, Locks: locks, Allocator: w.allocator,
		Addresses: addresses,
		Endpoints: syncer, Leases: held, Host: w.host, Bringup: w.host,
		Isolates: func() error { return nil }, Nameservers: func() []netip.Addr { return nil },
		Events: &events.Broker{}, Log: slog.New(slog.DiscardHandler)})
	w.sandboxes = sandbox.New(sandbox.Config{Store: w.store, Drivers: drivers, Bringup: w.host, Addresses: addresses,
		Source: w.networks, Attach: syncer, Leases: held, Locks: locks, Namespaces: w.pins, Dir: w.TempDir()})
	w.renumber = renumber.New(renumber.Config{Store: w.store, Drivers: drivers, Addresses: addresses,
		Source: w.networks,
		Attach: syncer, Locks: locks, Namespaces: w.pins, Ready: w.sandboxes.Ready})
	for _, sb := range w.store.Sandboxes() { // their namespaces are elsewhere than a new directory
		w.pins.Pin(sb.NetnsPath, &namespacetest.Namespace{})
	}
	if _, err := w.sandboxes.Recover(); err != nil {
		w.Fatal(err)
	}
	w.sandboxes.AcceptRequests()
	w.driver.Calls()
}

func (w *world) create(subnet string) network.Network {
	w.Helper()
	n, err := w.networks.Create(context.Background(), network.Draft{Name: "n1",
		Pools: []network.PoolSpec{{Subnet: netip.MustParsePrefix(subnet)}}})
	if err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) container(owner string) endpoint.Sandbox {
	w.Helper()
	sb, err := w.sandboxes.Create(context.Background(), endpoint.Request{Owner: owner, Mode: endpoint.Private,
		Endpoints: []endpoint.Spec{{Network: "n1"}}})
	if err != nil {
		w.Fatal(err)
	}
	return sb
}

// expectCalls compares the calls of the driver.
func (w *world) expectCalls(want ...string) {
	w.Helper()
	if got := w.driver.Calls(); !slices.Equal(got, want) {
		w.Errorf("got calls %q, want %q", got, want)
	}
}

func TestFailedCreationLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.host.fail = errors.New("natagent is down")
	if _, err := w.networks.Create(context.Background(), network.Draft{Name: "n1"}); !errors.Is(err, w.host.fail) {
		t.Fatalf("got %v", err)
	}

	if all := w.store.Networks(); len(all) > 0 {
		t.Errorf("got networks %+v", all)
	}
	w.host.fail = nil
	w.create("10.1.0.0/24") // with the same name
}

func TestExhaustedNetworkGrows(t *testing.T) {
	w := newWorld(t)
	n, err := w.networks.Create(context.Background(), network.Draft{Name: "n1"}) // from the address pools: a /26
	if err != nil {
		t.Fatal(err)
	}

	for w.allocator.Count(n.ID, n.Addresses(n.Spec.Pools[0])).Free > 0 {
		w.container(id.New())
	}
	w.driver.Calls()
	sb := w.container(id.New())
	grown, _ := w.store.Network(n.ID)
	if grown.Spec.Pools[0].Subnet.Bits() != n.Spec.Pools[0].Subnet.Bits()-1 || sb.Endpoints[0].IPv4.Bits() != 25 ||
		grown.Status.EndpointsOutdated() {
		t.Errorf("got network %+v and endpoint %+v", grown, sb.Endpoints[0])
	}
	if calls := w.driver.Calls(); len(calls) < 60 || !strings.HasPrefix(calls[0], "apply eth0 [") {
		t.Errorf("got calls %q", calls)
	}
}

// TestFailedUpdateIsTakenBack fails after the change is stored.
func TestFailedUpdateIsTakenBack(t *testing.T) {
	w := newWorld(t)
	n := w.create("10.1.0.0/24")
	sb := w.container(id.New())
	w.host.synced, w.host.fail = nil, errors.New("natagent is down")
	_, err := w.networks.Update(context.Background(), "n1",
		network.Update{Subnets: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24")}, Renumber: true})
	if !errors.Is(err, w.host.fail) {
		t.Fatalf("got %v", err)
	}

	if want := []string{"n1 10.2.0.0/24 10.1.0.0/24", "n1 10.1.0.0/24"}; !slices.Equal(w.host.synced, want) {
		t.Errorf("got %q, want %q", w.host.synced, want)
	}

	back, _ := w.store.Network(n.ID)
	if back.Spec.Pools[0].Subnet.String() != "10.1.0.0/24" || len(back.Status.Former) > 0 || back.Status.Renumbering {
		t.Errorf("got network %+v", back)
	}
	if !back.Status.EndpointsOutdated() {
		t.Error("a start after a crash would not update the endpoints")
	}

	w.host.fail = nil
	w.restart()
	if err := w.networks.Resume(); err != nil {
		t.Fatal(err)
	}
	w.expectCalls("apply eth0 [" + sb.Endpoints[0].IPv4.String() + "] mtu=1500")
	if back, _ = w.store.Network(n.ID); back.Status.EndpointsOutdated() {
		t.Error("the endpoints are outdated after the start")
	}
}

// TestRenumberingSurvivesCrashes restarts between all steps of a renumbering.
func TestRenumberingSurvivesCrashes(t *testing.T) {
	w := newWorld(t)
	n := w.create("10.1.0.0/24")
	owner := id.New()
	w.container(owner)
	if _, err := w.networks.Update(context.Background(), "n1",
		network.Update{Subnets: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24")}, Renumber: true}); err != nil {
		t.Fatal(err)
	}

	w.restart()
	if sb, _ := w.store.Sandbox(owner); !w.renumber.NeedsRenumbering(sb) {
		t.Fatal("after the update, the sandbox needs no renumbering")
	}

	failure := errors.New("kernel failure")
	w.driver.Fail = func(call string) error {
		if !strings.Contains(call, "gone=") {
			return failure
		}
		return nil
	}
	if _, err := w.renumber.Renumber(context.Background(), owner); !errors.Is(err, failure) {
		t.Fatalf("got %v", err)
	}
	if sb, _ := w.store.Sandbox(owner); sb.Endpoints[0].IPv4.String() != "10.1.0.2/24" || sb.Endpoints[0].Renumbering {
		t.Errorf("after a failure: got %+v", sb.Endpoints[0])
	}

	w.driver.Fail = nil
	w.restart()
	sb, err := w.renumber.Renumber(context.Background(), owner)
	if err != nil || sb.Endpoints[0].IPv4.String() != "10.2.0.2/24" {
		t.Fatalf("got %+v, %v", sb.Endpoints, err)
	}
	w.expectCalls("apply eth0 [10.2.0.2/24 10.1.0.2/24]")

	w.restart()
	if err := w.renumber.Resume(); err != nil {
		t.Fatal(err)
	}
	w.expectCalls("apply eth0 [10.2.0.2/24 10.1.0.2/24]")
	if err := w.networks.RemoveFormerPools(context.Background()); err != nil {
		t.Fatal(err)
	}
	if now, _ := w.store.Network(n.ID); len(now.Status.Former) != 1 {
		t.Errorf("the former pool is removed while it is used: %+v", now.Status)
	}

	removed, err := w.renumber.CompleteRenumbering(context.Background(), owner)
	if err != nil || len(removed) != 1 || removed[0].String() != "10.1.0.2" {
		t.Errorf("got removed %v, %v", removed, err)
	}
	w.expectCalls("apply eth0 [10.2.0.2/24] gone=[10.1.0.2/24]")
	if err := w.networks.RemoveFormerPools(context.Background()); err != nil {
		t.Fatal(err)
	}
	if now, _ := w.store.Network(n.ID); len(now.Status.Former) > 0 || now.Status.Renumbering {
		t.Errorf("got %+v", now.Status)
	}
}

func TestNetworkInUseIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	w.create("10.1.0.0/24")
	sb := w.container(id.New())
	if _, err := w.networks.Delete(context.Background(), "n1"); !fault.Is(err, fault.Busy) {
		t.Fatalf("got %v", err)
	}

	if err := w.sandboxes.Release(context.Background(), sb.Owner, endpoint.ReleaseKeep{}); err != nil {
		t.Fatal(err)
	}
	if w.pins.Exists(sb.NetnsPath) {
		t.Error("the namespace remains")
	}
	if _, err := w.networks.Delete(context.Background(), "n1"); err != nil || len(w.store.Networks()) > 0 {
		t.Errorf("got %v and networks %v", err, w.store.Networks())
	}
}
