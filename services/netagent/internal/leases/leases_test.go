package leases_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/leases"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace/namespacetest"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// lan is a LAN whose servers grant addresses, except on the network that fails.
type lan struct {
	driver.Leaser
	fails string // name of a network
	asked []endpoint.Endpoint

	mu       sync.Mutex
	released []string // networks
}

func (l *lan) AcquireLease(_ context.Context, _ *kernel.Namespace, n network.Network, _ endpoint.Sandbox, e,
	had endpoint.Endpoint) (endpoint.Endpoint, error) {
	if l.asked = append(l.asked, had); n.Name == l.fails {
		return e, errNoServer
	}
	t := terms("10.9.0.9/24")
	return e.WithLeases(&t, nil), nil
}

func (l *lan) ReleaseLease(n network.Network, _ endpoint.Sandbox, _ endpoint.Endpoint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = append(l.released, n.Name)
	return nil
}

var errNoServer = errors.New("no server")

func terms(address string) lease.Terms {
	return lease.Terms{Protocol: lease.ByDHCP, Address: netip.MustParsePrefix(address)}.For(time.Now(), 3600, 0, 0)
}

// world is a sandbox on two networks with DHCP.
type world struct {
	*leases.Leases
	store  *store.Store
	driver *drivertest.Fake
	lan    *lan
	sb     endpoint.Sandbox
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = s.Close() })
	w := &world{store: s, driver: &drivertest.Fake{}, lan: &lan{}}
	w.sb = endpoint.Sandbox{Owner: id.New(), Mode: endpoint.Private, NetnsPath: "/pins/a"}
	for i, name := range []string{"one", "two"} {
		n := network.Network{ID: id.New(), Name: name, Driver: network.DriverMacvlan,
			Spec: network.Spec{DHCP4: true, Macvlan: &network.Macvlan{}}}
		if err := s.AddNetwork(store.Network{Network: n}); err != nil {
			t.Fatal(err)
		}
		w.sb.Endpoints = append(w.sb.Endpoints, endpoint.Endpoint{ID: id.New(), NetworkID: n.ID, Driver: n.Driver,
			Interface: endpoint.ContainerInterface("", i)})
	}

	pins := &namespacetest.Keeper{}
	pins.Pin(w.sb.NetnsPath, &namespacetest.Namespace{})
	drivers, locks := driver.Set{network.DriverMacvlan: w.driver}, lock.NewChecked()
	w.Leases = leases.New(leases.Config{Store: s, LAN: w.lan, Locks: locks, Namespaces: pins,
		Attach: attach.New(attach.Config{Store: s, Drivers: drivers, Locks: locks, Namespaces: pins})})
	return w
}

func TestFailedObtainReleasesTheOtherLeases(t *testing.T) {
	w := newWorld(t)
	w.lan.fails = "two"
	got, err := w.Obtain(context.Background(), &namespacetest.Namespace{}, w.sb, w.sb.Endpoints...)
	if !errors.Is(err, errNoServer) || leases.Has(got) || !slices.Equal(w.lan.released, []string{"one"}) {
		t.Errorf("got %+v, %v, released %q", got, err, w.lan.released)
	}
}

func TestHeldLeaseIsRequestedAgain(t *testing.T) {
	w := newWorld(t)
	had := terms("10.9.0.7/24")
	stopped := w.sb
	stopped.Endpoints = slices.Clone(w.sb.Endpoints)
	stopped.Endpoints[1] = stopped.Endpoints[1].WithLeases(&had, nil)
	if err := w.Hold(stopped); err != nil {
		t.Fatal(err)
	}

	got, err := w.Obtain(context.Background(), &namespacetest.Namespace{}, w.sb, w.sb.Endpoints...)
	if err != nil || len(w.lan.asked) != 2 || len(w.lan.asked[0].Leases()) != 0 ||
		w.lan.asked[1].Lease4.Address != had.Address {
		t.Errorf("got %v, requested %+v", err, w.lan.asked)
	}
	if err := w.ForgetHeld(got); err != nil || len(w.store.Held(w.sb.Owner)) > 0 {
		t.Errorf("got held leases %+v, %v", w.store.Held(w.sb.Owner), err)
	}
}

func TestDeletedNetworkReleasesItsHeldLeases(t *testing.T) {
	w := newWorld(t)
	had := terms("10.9.0.7/24")
	for i := range w.sb.Endpoints {
		w.sb.Endpoints[i] = w.sb.Endpoints[i].WithLeases(&had, nil)
	}
	if err := w.Hold(w.sb); err != nil {
		t.Fatal(err)
	}

	if err := w.ReleaseNetwork(w.sb.Endpoints[0].NetworkID); err != nil {
		t.Fatal(err)
	}
	if held := w.store.Held(w.sb.Owner); len(held) != 1 || held[0].NetworkID != w.sb.Endpoints[1].NetworkID ||
		!slices.Equal(w.lan.released, []string{"one"}) {
		t.Errorf("got held leases %+v, released %q", held, w.lan.released)
	}
}

// TestStoredLeaseIsAppliedAfterCrash starts after a crash between the record and the kernel.
func TestStoredLeaseIsAppliedAfterCrash(t *testing.T) {
	w := newWorld(t)
	granted := terms("10.9.0.8/24")
	for i := range w.sb.Endpoints {
		w.sb.Endpoints[i] = w.sb.Endpoints[i].WithLeases(&granted, nil)
	}
	w.sb.Endpoints[1].LeaseUnapplied = true
	if err := w.store.PutSandbox(w.sb); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what is due at the start is done anyway
	w.Run(ctx)
	if calls := w.driver.Calls(); !slices.Equal(calls, []string{"apply eth1 [10.9.0.8/24]"}) {
		t.Errorf("got calls %q", calls)
	}
	if sb, _ := w.store.Sandbox(w.sb.Owner); sb.Endpoints[1].LeaseUnapplied {
		t.Error("the lease is recorded as not applied")
	}
}
