package attach_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace/namespacetest"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// world is one recorded sandbox with two endpoints, and its namespace in memory.
type world struct {
	*attach.Syncer
	store  *store.Store
	driver *drivertest.Fake
	ns     *namespacetest.Namespace
	owner  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = s.Close() })
	w := &world{store: s, driver: &drivertest.Fake{}, owner: id.New(), ns: &namespacetest.Namespace{
		Interfaces: map[string][]netip.Prefix{"eth0": prefixes("10.1.0.2/24"), "eth1": prefixes("10.2.0.2/24")},
		Default:    []kernel.DefaultRoute{{Interface: "eth0", Gateway: netip.MustParseAddr("10.1.0.1")}}}}
	sb := endpoint.Sandbox{Owner: w.owner, Mode: endpoint.Private, NetnsPath: "/pins/a"}
	for i, name := range []string{"one", "two"} {
		n := network.Network{ID: id.New(), Name: name, Driver: network.DriverBridge,
			Spec: network.Spec{MTU: 1500, Bridge: &network.Bridge{Device: "br-" + name}}}
		if err := s.AddNetwork(store.Network{Network: n}); err != nil {
			t.Fatal(err)
		}
		e := endpoint.Endpoint{ID: id.New(), NetworkID: n.ID, NetworkName: name, Driver: n.Driver,
			Interface: endpoint.ContainerInterface("", i)}
		e.IPv4 = w.ns.Interfaces[e.Interface][0]
		if i == 0 {
			e.Gateway4 = w.ns.Default[0].Gateway
		}
		sb.Endpoints = append(sb.Endpoints, e)
	}

	if err := s.PutSandbox(sb); err != nil {
		t.Fatal(err)
	}

	pins := &namespacetest.Keeper{}
	pins.Pin(sb.NetnsPath, w.ns)
	w.Syncer = attach.New(attach.Config{Store: s, Drivers: driver.Set{network.DriverBridge: w.driver},
		Locks: lock.NewChecked(), Namespaces: pins})
	return w
}

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestRepairRestoresTheRecord(t *testing.T) {
	for name, c := range map[string]struct {
		damage  func(*namespacetest.Namespace)
		differs string
		calls   []string
	}{
		"nothing is damaged": {func(*namespacetest.Namespace) {}, "", nil},
		"an interface is missing": {func(ns *namespacetest.Namespace) { delete(ns.Interfaces, "eth1") },
			"eth1 to network two is missing or down",
			[]string{"apply eth0 [10.1.0.2/24]", "apply eth1 [10.2.0.2/24]"}},
		"an address is missing": {func(ns *namespacetest.Namespace) { ns.Interfaces["eth0"] = nil },
			"eth0 lacks the address 10.1.0.2/24",
			[]string{"apply eth0 [10.1.0.2/24]", "apply eth1 [10.2.0.2/24]"}},
		"the default route is missing": {func(ns *namespacetest.Namespace) { ns.Default = nil },
			"the default route via 10.1.0.1 is missing",
			[]string{"apply eth0 [10.1.0.2/24]", "apply eth1 [10.2.0.2/24]"}},
		"another default route": {func(ns *namespacetest.Namespace) { // the container may change it
			ns.Default = []kernel.DefaultRoute{{Interface: "tun0", Gateway: netip.MustParseAddr("10.9.0.1")}}
		}, "", nil},
	} {
		w := newWorld(t)
		c.damage(w.ns)
		differed, err := w.Repair(context.Background(), w.owner)
		if err != nil || strings.Join(differed, "; ") != c.differs {
			t.Errorf("%s: got %q, %v, want %q", name, differed, err, c.differs)
		}
		if calls := w.driver.Calls(); !slices.Equal(calls, c.calls) {
			t.Errorf("%s: got calls %q, want %q", name, calls, c.calls)
		}
		if len(w.ns.Default) == 0 {
			t.Errorf("%s: the default route is missing after the repair", name)
		}
	}
}

func TestRepairLeavesReleasedSandboxes(t *testing.T) {
	w := newWorld(t)
	w.ns.Interfaces = nil
	sb, _ := w.store.Sandbox(w.owner)
	sb.NetnsOnly = true // its namespace is kept for containers that share it
	if err := w.store.PutSandbox(sb); err != nil {
		t.Fatal(err)
	}
	if differed, err := w.Repair(context.Background(), w.owner); err != nil || len(differed) > 0 {
		t.Errorf("got %q, %v", differed, err)
	}
	if differed, err := w.Compare(id.New()); err != nil || len(differed) > 0 {
		t.Errorf("an unknown owner: got %q, %v", differed, err)
	}
}

// TestUpdateEndpointsStoresPrefixLens extends the subnet of one of two networks.
func TestUpdateEndpointsStoresPrefixLens(t *testing.T) {
	w := newWorld(t)
	n, _ := w.store.NetworkNamed("two")
	n.Spec.Pools = []network.Pool{{Subnet: netip.MustParsePrefix("10.2.0.0/20")}}
	n.Status = n.Status.Changed()
	if err := w.UpdateEndpoints(n.Network); err != nil {
		t.Fatal(err)
	}

	if calls := w.driver.Calls(); !slices.Equal(calls, []string{"apply eth1 [10.2.0.2/20] mtu=1500"}) {
		t.Errorf("got calls %q", calls)
	}
	sb, _ := w.store.Sandbox(w.owner)
	if sb.Endpoints[0].IPv4.Bits() != 24 || sb.Endpoints[1].IPv4.Bits() != 20 {
		t.Errorf("got endpoints %+v", sb.Endpoints)
	}
}
