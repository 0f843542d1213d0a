package netagent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func (a *agent) connect(sb endpoint.Sandbox, spec endpoint.Spec) endpoint.Sandbox {
	a.t.Helper()
	after, err := a.sandboxes.Connect(context.Background(), sb.Owner, spec)
	if err != nil {
		a.t.Fatal(err)
	}
	return after
}

func (a *agent) disconnect(sb endpoint.Sandbox, ref string) endpoint.Sandbox {
	a.t.Helper()
	after, err := a.sandboxes.Disconnect(context.Background(), sb.Owner, ref)
	if err != nil {
		a.t.Fatal(err)
	}
	return after
}

func (a *agent) defaultRoute(sb endpoint.Sandbox) string {
	a.t.Helper()
	return strings.TrimSpace(a.in(sb, "ip", "route", "show", "default"))
}

func TestInterfacesAreNumberedInOrder(t *testing.T) {
	a := newHost(t).run()
	a.newNetwork("zoo")
	a.newNetwork("ant")
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "zoo"},
		endpoint.Spec{Network: "bridge", Interface: "eth0"}, endpoint.Spec{Network: "ant"}))
	var got []string
	for _, e := range sb.Endpoints {
		got = append(got, e.NetworkName+"="+e.Interface)
	}
	if s := strings.Join(got, " "); s != "zoo=eth1 bridge=eth0 ant=eth2" {
		t.Errorf("got interfaces %s", s)
	}
	if s := a.defaultRoute(sb); s != "default via 172.18.8.1 dev eth2" {
		t.Errorf("got default route %q, want by the first network name", s)
	}

	for _, e := range sb.Endpoints {
		has(t, e.Interface, a.in(sb, "ip", "addr", "show", e.Interface), e.IPv4.String())
	}
}

func TestHighestPriorityHasDefaultRoute(t *testing.T) {
	a := newHost(t).run()
	a.newNetwork("n1")
	a.newNetwork("n2")
	a.network(network.Draft{Name: "inside", Internal: true})
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"},
		endpoint.Spec{Network: "n2", Priority: 5}, endpoint.Spec{Network: "inside", Priority: 9}))
	if s := a.defaultRoute(sb); s != "default via 172.18.8.1 dev eth1" {
		t.Errorf("got default route %q", s)
	}

	sb = a.disconnect(sb, "n2")
	if s := a.defaultRoute(sb); s != "default via 172.18.0.1 dev eth0" {
		t.Errorf("after disconnect: got default route %q", s)
	}

	sb = a.connect(sb, endpoint.Spec{Network: "n2", Priority: 1})
	if s := a.defaultRoute(sb); s != "default via 172.18.8.1 dev eth1" {
		t.Errorf("after connect: got default route %q", s)
	}

	a.disconnect(a.disconnect(a.disconnect(sb, "n1"), "n2"), "inside")
	if s := a.in(sb, "ip", "-o", "link"); strings.Contains(s, "eth") {
		t.Errorf("got interfaces %s, want none", s)
	}
}

func TestStaticAddressesAreAllocated(t *testing.T) {
	a := newHost(t).run()
	on6 := true
	a.network(network.Draft{Name: "n1", IPv6: &on6,
		Pools: []network.PoolSpec{{Subnet: netip.MustParsePrefix("10.1.0.0/24")},
			{Subnet: netip.MustParsePrefix("fd00:1::/64")}}})
	spec := endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.77"),
		IPv6: netip.MustParseAddr("fd00:1::77"), MAC: "02:11:22:33:44:55", Interface: "lan"}
	sb := a.create(requestOn(id.New(), spec))
	has(t, "lan", a.in(sb, "ip", "addr", "show", "lan"), "10.1.0.77/24", "fd00:1::77/64", "02:11:22:33:44:55")
	a.mustReach(sb.NetnsPath, "10.1.0.1")
	a.mustReach(sb.NetnsPath, "fd00:1::1")
	a.mustReach(a.ns.Path(), "10.1.0.77")
	if again := a.create(requestOn(sb.Owner, spec)); again.Endpoints[0].ID != sb.Endpoints[0].ID {
		t.Error("a repeated request created another endpoint")
	}

	for name, c := range map[string]struct {
		spec endpoint.Spec
		kind fault.Kind
		text string
	}{
		"in use": {endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.77")},
			fault.Exists, "Address already in use"},
		"gateway": {endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.1")},
			fault.Exists, "Address already in use"},
		"broadcast": {endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.255")},
			fault.Exists, "Address already in use"},
		"outside all subnets": {endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("172.99.0.1")},
			fault.Invalid, "no configured subnet contains IP address 172.99.0.1"},
		"default bridge": {endpoint.Spec{Network: "bridge", IPv4: netip.MustParseAddr("172.17.0.9")},
			fault.Invalid, "user-specified IP address is supported on user-defined networks only"},
		"invalid MAC": {endpoint.Spec{Network: "n1", MAC: "xx"}, fault.Invalid,
			"xx is not a valid mac address"},
		"multicast MAC": {endpoint.Spec{Network: "n1", MAC: "01:00:5e:00:00:01"}, fault.Invalid,
			"not a unicast MAC"},
		"invalid interface": {endpoint.Spec{Network: "n1", Interface: "lo"}, fault.Invalid,
			"not a valid interface name"},
		"wrong family": {endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("fd00:1::5")},
			fault.Invalid, "invalid IPv4 address"},
	} {
		_, err := a.sandboxes.Create(context.Background(), requestOn(id.New(), c.spec))
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if other := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"})); a.address(other) != "10.1.0.2" {
		t.Errorf("failed requests kept addresses: next is %s", a.address(other))
	}
}

func TestConnectChangesOneEndpoint(t *testing.T) {
	a := newHost(t).run()
	a.newNetwork("n1")
	sb := a.container()
	after := a.connect(sb, endpoint.Spec{Network: "n1"})
	if e := after.Endpoints[1]; e.Interface != "eth1" || e.Gateway4.IsValid() ||
		!after.Endpoints[0].Gateway4.IsValid() {
		t.Errorf("got endpoints %+v", after.Endpoints)
	}

	a.mustReach(sb.NetnsPath, "172.18.0.1")
	if again := a.connect(sb, endpoint.Spec{Network: "n1"}); again.Endpoints[1].ID != after.Endpoints[1].ID {
		t.Error("a repeated request created another endpoint")
	}
	if _, err := a.sandboxes.Connect(context.Background(), sb.Owner,
		endpoint.Spec{Network: "n1", Priority: 3}); !fault.Is(err, fault.Exists) {
		t.Errorf("different content: got %v, want Exists", err)
	}

	a.disconnect(after, "n1")
	if again := a.disconnect(after, "n1"); len(again.Endpoints) != 1 {
		t.Errorf("repeated disconnect: got %+v", again.Endpoints)
	}
	if s := a.in(sb, "ip", "-o", "link"); strings.Contains(s, "eth1") {
		t.Errorf("eth1 was not deleted: %s", s)
	}

	a.mustReach(sb.NetnsPath, "172.17.0.1")
	if _, err := a.networks.Delete(context.Background(), "n1"); err != nil {
		t.Error(err)
	}

	host := a.create(endpoint.Request{Owner: id.New(), Mode: endpoint.Host})
	for owner, kind := range map[string]fault.Kind{id.New(): fault.NotFound, host.Owner: fault.Busy,
		"web": fault.Invalid} {
		if _, err := a.sandboxes.Connect(context.Background(), owner,
			endpoint.Spec{Network: "bridge"}); !fault.Is(err, kind) {
			t.Errorf("%s: %v", owner, err)
		}
	}
}

func TestFailedConnectLeavesSandboxUnchanged(t *testing.T) {
	a := newHost(t).run()
	n := a.newNetwork("n1")
	sb := a.container()
	a.in(sb, "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "other")
	if after, err := a.sandboxes.Connect(context.Background(), sb.Owner,
		endpoint.Spec{Network: "n1"}); err == nil {
		t.Fatalf("connect with an existing eth1: got %+v, want an error", after)
	}
	if ports := a.ports(n.Bridge().Device); len(ports) != 0 {
		t.Errorf("got ports %v, want none", ports)
	}
	if s := a.defaultRoute(sb); s != "default via 172.17.0.1 dev eth0" {
		t.Errorf("got default route %q", s)
	}
	if c := a.networks.PoolUsage(n); c[0].Used != 3 {
		t.Errorf("addresses were not released: %+v", c)
	}
}

func TestKeptNamespaceIsReused(t *testing.T) {
	a := newHost(t).run()
	a.newNetwork("n1")
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}, endpoint.Spec{Network: "bridge"}))
	a.in(sb, "ip", "addr", "add", "127.0.0.2/8", "dev", "lo")
	for range 2 {
		if err := a.sandboxes.Release(context.Background(), sb.Owner,
			endpoint.ReleaseKeep{Namespace: true}); err != nil {
			t.Fatal(err)
		}
	}
	if s := a.in(sb, "ip", "-o", "link"); strings.Contains(s, "eth") || !strings.Contains(s, "lo:") {
		t.Errorf("got links %s", s)
	}
	if got, err := a.sandboxes.Get(sb.Owner); err != nil || !got.NetnsOnly || len(got.Endpoints) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if other := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"})); a.address(other) != a.address(sb) {
		t.Errorf("the address was not released: next is %s", a.address(other))
	}

	a.stop()
	b := a.host.run()
	again := b.create(requestOn(sb.Owner, endpoint.Spec{Network: "bridge"}))
	if again.NetnsPath != sb.NetnsPath || again.NetnsOnly {
		t.Errorf("got sandbox %+v", again)
	}

	has(t, "lo", b.in(again, "ip", "addr", "show", "lo"), "127.0.0.2")
	has(t, "eth0", b.in(again, "ip", "addr", "show", "eth0"), "172.17.0.2/16")
	b.mustReach(again.NetnsPath, "172.17.0.1")
	for _, keep := range []bool{true, false} {
		if err := b.sandboxes.Release(context.Background(), sb.Owner,
			endpoint.ReleaseKeep{Namespace: keep}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.sandboxes.Get(sb.Owner); !fault.Is(err, fault.NotFound) {
		t.Errorf("after release: got %v, want NotFound", err)
	}
}

func TestStaticAddressIsReserved(t *testing.T) {
	a := newHost(t).run()
	ctx := context.Background()
	n := a.network(withSubnet("n1", "10.1.0.0/29"))
	fixed := endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.2")}
	owner, other := id.New(), id.New()
	reserve := func(owner string, specs ...endpoint.Spec) error { return a.sandboxes.Reserve(ctx, owner, specs) }
	if err := reserve(owner, fixed, endpoint.Spec{Network: "bridge"}); err != nil {
		t.Fatal(err)
	}

	for range 2 { // before the sandbox is created, and after its release that keeps addresses and a restart
		if got := a.address(a.create(requestOn(other, endpoint.Spec{Network: "n1"}))); got != "10.1.0.3" {
			t.Errorf("other owner: got %s", got)
		}
		if err := a.sandboxes.Release(ctx, other, endpoint.ReleaseKeep{Addresses: true}); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{reserve(id.New(), fixed), reserve(other, fixed)} {
			if !fault.Is(err, fault.Exists) {
				t.Errorf("second reservation: got %v, want Exists", err)
			}
		}
		if _, err := a.sandboxes.Create(ctx, requestOn(id.New(), fixed)); !fault.Is(err, fault.Exists) {
			t.Errorf("allocation by another owner: got %v, want Exists", err)
		}
		a.create(requestOn(owner, fixed))
		if err := a.sandboxes.Release(ctx, owner, endpoint.ReleaseKeep{Addresses: true}); err != nil {
			t.Fatal(err)
		}
		a.stop()
		a = a.host.run()
	}

	// A static address is kept without a reservation too. An address that is not reserved again is free.
	second := endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.5")}
	a.create(requestOn(other, second))
	if err := a.sandboxes.Release(ctx, other, endpoint.ReleaseKeep{Addresses: true}); err != nil {
		t.Fatal(err)
	}
	if err := reserve(owner, second); !fault.Is(err, fault.Exists) {
		t.Errorf("static address of another owner: got %v, want Exists", err)
	}
	if err := reserve(owner); err != nil {
		t.Fatal(err)
	}
	if got := a.address(a.create(requestOn(owner, endpoint.Spec{Network: "n1"}))); got != "10.1.0.2" {
		t.Errorf("the former reservation was not released: got %s", got)
	}

	for _, o := range []string{owner, other} {
		if err := a.sandboxes.Release(ctx, o, endpoint.ReleaseKeep{}); err != nil {
			t.Fatal(err)
		}
	}
	if c := a.networks.PoolUsage(n); c[0].Used != 3 {
		t.Errorf("addresses were not released: %+v", c)
	}

	// A reservation does not prevent the deletion of a network.
	if err := reserve(owner, fixed); err != nil {
		t.Fatal(err)
	}
	if _, err := a.networks.Delete(ctx, "n1"); err != nil {
		t.Fatal(err)
	}
	if left := a.store.Reservations(); len(left) != 0 {
		t.Errorf("got reservations %v, want none", left)
	}
}

// TestRandomChangesAllocateNoDuplicates creates, changes and releases sandboxes on two networks at
// random, and sometimes restarts the agent. After each step all addresses differ, and in the end no
// state remains.
func TestRandomChangesAllocateNoDuplicates(t *testing.T) {
	h := newHost(t)
	a := h.run()
	a.network(withSubnet("n1", "10.1.0.0/29"))
	a.network(withSubnet("n2", "10.2.0.0/29"))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	owners := make([]string, 7)
	for i := range owners {
		owners[i] = id.New()
	}

	ctx := context.Background()
	for step := range 150 {
		owner, net := owners[dice.IntN(len(owners))], fmt.Sprintf("n%d", 1+dice.IntN(2))
		var err error
		switch dice.IntN(10) {
		case 0, 1, 2:
			_, err = a.sandboxes.Create(ctx, requestOn(owner, endpoint.Spec{Network: net}))
		case 3:
			fixed := netip.AddrFrom4([4]byte{10, 1, 0, byte(dice.IntN(8))})
			_, err = a.sandboxes.Create(ctx, requestOn(owner, endpoint.Spec{Network: "n1", IPv4: fixed}))
		case 4, 5:
			_, err = a.sandboxes.Connect(ctx, owner, endpoint.Spec{Network: net})
		case 6:
			_, err = a.sandboxes.Disconnect(ctx, owner, net)
		case 7:
			err = a.sandboxes.Reserve(ctx, owner, []endpoint.Spec{{Network: "n1",
				IPv4: netip.AddrFrom4([4]byte{10, 1, 0, byte(dice.IntN(8))})}})
		case 8:
			err = a.sandboxes.Release(ctx, owner, endpoint.ReleaseKeep{Namespace: dice.IntN(2) == 0,
				Addresses: dice.IntN(2) == 0})
		case 9:
			if dice.IntN(3) == 0 {
				a.stop()
				a = h.run()
			}
		}
		if err != nil && fault.Is(err, fault.Internal) {
			t.Fatalf("step %d: %v", step, err)
		}
		seen := map[netip.Addr]string{}
		for _, r := range a.store.Reservations() {
			for _, addr := range r.Addresses {
				if other, taken := seen[addr.Address]; taken {
					t.Fatalf("step %d: %s is reserved for both %s and %s", step, addr.Address, other, r.Owner)
				}
				seen[addr.Address] = r.Owner
			}
		}
		for _, sb := range a.sandboxes.List() {
			for _, e := range sb.Endpoints {
				if other, taken := seen[e.IPv4.Addr()]; taken && other != sb.Owner {
					t.Fatalf("step %d: %s and %s both have %s", step, other, sb.Owner, e.IPv4)
				}
				seen[e.IPv4.Addr()] = sb.Owner
			}
		}
	}

	for _, owner := range owners {
		if err := a.sandboxes.Release(ctx, owner, endpoint.ReleaseKeep{}); err != nil {
			t.Error(err)
		}
	}

	a.checkNoState()
	for _, n := range []string{"n1", "n2"} {
		if _, err := a.networks.Delete(ctx, n); err != nil {
			t.Error(err)
		}
	}
}
