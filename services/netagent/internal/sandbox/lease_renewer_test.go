package sandbox_test

import (
	"context"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/leases"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// slowLAN grants an address slowly. The namespace can already be found meanwhile, as in the moment
// before a lease is stored.
type slowLAN struct {
	driver.Leaser
	takes time.Duration
	asked atomic.Int64 // number of concurrent requests
}

func (l *slowLAN) AcquireLease(
	_ context.Context, ns *kernel.Namespace, _ network.Network, sb endpoint.Sandbox, e, _ endpoint.Endpoint,
) (endpoint.Endpoint, error) {
	if err := ns.Pin(sb.NetnsPath); err != nil {
		return e, err
	}
	time.Sleep(l.takes)
	t := lease.Terms{Protocol: lease.ByDHCP, Address: netip.MustParsePrefix("10.9.0.9/24")}.For(time.Now(), 3600, 0, 0)
	return e.WithLeases(&t, nil), kernel.Unpin(sb.NetnsPath)
}

func (l *slowLAN) RunDHCP(
	context.Context, *kernel.Namespace, network.Network, endpoint.Sandbox, endpoint.Endpoint, bool, *lease.Client,
	time.Duration,
) (lease.Event, error) {
	l.asked.Add(1)
	return lease.NoEvent, nil
}

func (l *slowLAN) ReleaseLease(network.Network, endpoint.Sandbox, endpoint.Endpoint) error {
	return nil
}

func TestLeaseRenewerWaitsForPendingLease(t *testing.T) {
	testns.NeedRoot(t)
	root := roots(t)
	s, err := store.Open(root)
	if err != nil {
		t.Fatal(err)
	}

	defer func() { _ = s.Close() }()

	n := network.Network{ID: id.New(), Name: "lan", Driver: network.DriverMacvlan,
		Spec: network.Spec{DHCP4: true, Macvlan: &network.Macvlan{ParentSpec: network.ParentSpec{Link: "eth0"}}}}
	if err := s.AddNetwork(store.Network{Network: n}); err != nil {
		t.Fatal(err)
	}

	lan := &slowLAN{takes: 2500 * time.Millisecond} // some ticks
	m, renewer := leasingManager(s, lan, filepath.Join(root, "pins"))
	if _, err := m.Recover(); err != nil {
		t.Fatal(err)
	}

	m.AcceptRequests()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		renewer.Run(ctx)
	}()

	owner := id.New()
	sb, err := m.Create(ctx, endpoint.Request{Owner: owner, Mode: endpoint.Private,
		Endpoints: []endpoint.Spec{{Network: "lan"}}})
	if err != nil || sb.Endpoints[0].IPv4.String() != "10.9.0.9/24" {
		t.Errorf("got %+v, %v", sb, err)
	}

	time.Sleep(1500 * time.Millisecond) // another tick
	cancel()
	<-done
	if n := lan.asked.Load(); n > 0 {
		t.Errorf("got %d concurrent DHCP exchanges, want none", n)
	}
	if err := m.Release(context.Background(), owner, endpoint.ReleaseKeep{}); err != nil {
		t.Error(err)
	}
}

// leasingManager returns a manager on a LAN with DHCP, with real namespaces.
func leasingManager(s *store.Store, lan driver.Leaser, pins string) (*sandbox.Manager, *leases.Leases) {
	drivers, locks := driver.Set{network.DriverMacvlan: &drivertest.Fake{}}, lock.NewChecked()
	syncer := attach.New(attach.Config{Store: s, Drivers: drivers, Locks: locks, Namespaces: namespace.Host{}})
	renewer := leases.New(leases.Config{Store: s, LAN: lan, Attach: syncer, Locks: locks, Namespaces: namespace.Host{}})
	return sandbox.New(sandbox.Config{Store: s, Drivers: drivers, Bringup: &steps{}, Locks: locks, Attach: syncer,
		Addresses: address.New(s, ipam.NewAllocator(time.Now), nil), Leases: renewer, Namespaces: namespace.Host{},
		Dir: pins}), renewer
}
