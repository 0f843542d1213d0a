package address_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// stored returns a network with these subnets.
func stored(t *testing.T, s *store.Store, subnets ...string) network.Network {
	t.Helper()
	n := network.Network{ID: id.New(), Name: "n1", Driver: network.DriverMacvlan}
	for _, subnet := range subnets {
		n.Spec.Pools = append(n.Spec.Pools, network.Pool{Subnet: netip.MustParsePrefix(subnet)})
	}
	if err := s.AddNetwork(store.Network{Network: n}); err != nil {
		t.Fatal(err)
	}
	return n
}

// probeBarrier completes a probe only after probes of both families started.
type probeBarrier struct{ four, six chan struct{} }

func (m probeBarrier) AddressOwner(_ network.Network, addr netip.Addr) (string, error) {
	mine, other := m.four, m.six
	if addr.Is6() {
		mine, other = m.six, m.four
	}
	close(mine)
	select {
	case <-other:
		return "", nil
	case <-time.After(60 * time.Second):
		return "", fault.New(fault.Internal, "the LAN", "families are probed sequentially")
	}
}

func TestFamiliesAreProbedConcurrently(t *testing.T) {
	s := open(t)
	n := stored(t, s, "10.9.0.0/24", "fd09::/64")
	all := address.New(s, ipam.NewAllocator(time.Now), probeBarrier{make(chan struct{}), make(chan struct{})})
	e, err := all.Endpoint(id.New(), n, endpoint.Spec{Network: n.ID}, map[string]bool{})
	if err != nil || e.IPv4.String() != "10.9.0.1/24" || e.IPv6.String() != "fd09::1/64" ||
		e.MAC.String() != "02:42:0a:09:00:01" {
		t.Errorf("got endpoint %+v, %v", e, err)
	}
}

// lan is a LAN on which other hosts use addresses.
type lan map[string]string

func (l lan) AddressOwner(_ network.Network, addr netip.Addr) (string, error) {
	return l[addr.String()], nil
}

func TestConflictingAddressesAreSkipped(t *testing.T) {
	s := open(t)
	n := stored(t, s, "10.9.0.0/29")
	all := address.New(s, ipam.NewAllocator(time.Now), lan{"10.9.0.1": "a printer", "10.9.0.2": "a camera"})
	allocate := func(spec endpoint.Spec) (endpoint.Endpoint, error) {
		spec.Network = n.ID
		return all.Endpoint(id.New(), n, spec, map[string]bool{})
	}

	if e, err := allocate(endpoint.Spec{}); err != nil || e.IPv4.String() != "10.9.0.3/29" {
		t.Errorf("got %v, %v, want 10.9.0.3", e.IPv4, err)
	}

	_, err := allocate(endpoint.Spec{IPv4: netip.MustParseAddr("10.9.0.1")})
	if !fault.Is(err, fault.Exists) || !strings.Contains(err.Error(),
		"10.9.0.1: Address already in use: a printer has it") {
		t.Errorf("got %v, want a conflict", err)
	}

	_, err = allocate(endpoint.Spec{IPv4: netip.MustParseAddr("10.9.9.9")})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want an invalid address", err)
	}
}

// TestMoveKeepsReservations moves a static address with its network, and back.
func TestMoveKeepsReservations(t *testing.T) {
	s := open(t)
	n := stored(t, s, "10.1.0.0/24")
	all := address.New(s, ipam.NewAllocator(time.Now), nil)
	owner, at := id.New(), netip.MustParseAddr("10.1.0.9")
	stored, _ := s.Network(n.ID)
	if err := all.Reserve(owner, []store.Network{stored}, []endpoint.Spec{{Network: n.ID,
		IPv4: at}}); err != nil {
		t.Fatal(err)
	}

	moved := stored
	var err error
	moved.Network, err = (network.Update{Subnets: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24")},
		Renumber: true}).Apply(n)
	if err != nil {
		t.Fatal(err)
	}

	moved.Status = moved.Status.Changed()
	rollback, err := all.Move(moved)
	if err != nil || !s.Reservation(owner).Has(n.ID, netip.MustParseAddr("10.2.0.9")) {
		t.Fatalf("got reservation %+v, %v", s.Reservation(owner), err)
	}

	if err := rollback(); err != nil || !s.Reservation(owner).Has(n.ID, at) {
		t.Fatalf("after the rollback: got reservation %+v, %v", s.Reservation(owner), err)
	}

	// Sandboxes that followed before the rollback must follow again, also after a crash.
	if back, _ := s.Network(n.ID); back.Spec.Pools[0].Subnet.String() != "10.1.0.0/24" ||
		back.Status.Generation <= moved.Status.Generation || !back.Status.EndpointsOutdated() {
		t.Errorf("after the rollback: got network %+v", back)
	}
}
