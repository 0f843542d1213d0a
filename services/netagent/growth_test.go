package netagent

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// fill reserves the addresses 172.18.0.from to 172.18.0.to.
func (a *agent) fill(name string, from, to int) {
	a.t.Helper()
	for i := from; i <= to; i++ {
		spec := endpoint.Spec{Network: name, IPv4: netip.AddrFrom4([4]byte{172, 18, 0, byte(i)})}
		if err := a.sandboxes.Reserve(context.Background(), id.New(), []endpoint.Spec{spec}); err != nil {
			a.t.Fatal(err)
		}
	}
}

func TestExhaustedNetworkGrows(t *testing.T) {
	a := newHost(t).run()
	n := a.newNetwork("n1")
	first := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	routes := a.in(first, "ip", "route", "show", "default")
	a.fill("n1", 3, 62)
	next := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))

	// The broadcast address of the former subnet can be allocated.
	if got := next.Endpoints[0].IPv4.String(); got != "172.18.0.63/25" {
		t.Errorf("got next address %s", got)
	}
	if now, _ := a.store.Network(n.ID); now.Spec.Pools[0].Subnet.String() != "172.18.0.0/25" ||
		now.Spec.Pools[0].Gateway != n.Spec.Pools[0].Gateway {
		t.Errorf("got pool %+v", now.Spec.Pools[0])
	}
	if got, err := a.sandboxes.Get(first.Owner); err != nil || got.Endpoints[0].IPv4.String() != "172.18.0.2/25" {
		t.Errorf("got stored endpoints %+v, %v", got.Endpoints, err)
	}

	inside, bridge := a.in(first, "ip", "-4", "addr", "show", "eth0"),
		a.ns.Run("ip", "-4", "addr", "show", n.Bridge().Device)
	has(t, "eth0", inside, "172.18.0.2/25")
	has(t, "the bridge", bridge, "172.18.0.1/25")
	if strings.Contains(inside+bridge, "/26") {
		t.Errorf("the former prefix length is still in use:\n%s\n%s", inside, bridge)
	}
	if now := a.in(first, "ip", "route", "show", "default"); now != routes || now == "" {
		t.Errorf("default route: got %[2]q, want %[1]q", routes, now)
	}

	a.mustReach(first.NetnsPath, "172.18.0.63")
	a.mustReach(next.NetnsPath, "172.18.0.2")
	if last := a.guard.Puts(); last[len(last)-1].GetSubnets()[0] != "172.18.0.0/25" {
		t.Errorf("got firewall request %v", last[len(last)-1])
	}
}

func TestNetworkGrowsForStaticAddress(t *testing.T) {
	a := newHost(t).run()
	a.newNetwork("n1")
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("172.18.1.9")}))
	if got := sb.Endpoints[0].IPv4.String(); got != "172.18.1.9/23" {
		t.Errorf("got address %s", got)
	}
	err := a.sandboxes.Reserve(context.Background(), id.New(),
		[]endpoint.Spec{{Network: "n1", IPv4: netip.MustParseAddr("172.19.0.9")}})
	if !fault.Is(err, fault.Invalid) || !strings.HasSuffix(err.Error(),
		"no configured subnet contains IP address 172.19.0.9") {
		t.Errorf("beyond the grow limit: got %v", err)
	}
}

func TestFailedGrowthReturnsReason(t *testing.T) {
	h := newHost(t)
	a := h.run()
	a.newNetwork("n1")
	a.network(withSubnet("n2", "172.18.0.128/25"))
	a.network(withSubnet("n3", "10.1.0.0/30"))
	a.fill("n1", 2, 62)
	a.fill("n1", 64, 126)
	a.fill("n1", 63, 63)
	a.create(requestOn(id.New(), endpoint.Spec{Network: "n3"}))
	a.newNetwork("n4")
	h.ns.Run("ip", "link", "add", "vpn", "type", "veth", "peer", "name", "vpn1")
	h.ns.Run("ip", "link", "set", "vpn", "up")
	h.ns.Run("ip", "route", "add", "172.18.8.128/25", "dev", "vpn")
	for want, name := range map[string]string{
		"all 125 of 172.18.0.0/25 are taken, and it cannot grow: the larger subnet 172.18.0.0/24 overlaps " +
			"network n2: 172.18.0.128/25; create a second network": "n1",
		"all 1 of 10.1.0.0/30 are taken, and it cannot grow: its subnet has a fixed size; remove containers, or " +
			"make its subnet larger: fairlead network update": "n3",
	} {
		_, err := a.sandboxes.Create(context.Background(), requestOn(id.New(), endpoint.Spec{Network: name}))
		n, _ := a.store.NetworkNamed(name)
		want = "network " + name + ": no available IPv4 addresses on this network's address pools: " + n.String() +
			": " + want
		if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}

	_, err := a.sandboxes.Create(context.Background(), requestOn(id.New(),
		endpoint.Spec{Network: "n4", IPv4: netip.MustParseAddr("172.18.8.200")}))
	want := "no configured subnet contains IP address 172.18.8.200, and it cannot grow: the larger subnet " +
		"172.18.8.0/24 overlaps a host route over vpn: 172.18.8.128/25"
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("beyond a foreign route: got %v", err)
	}
	if all := len(a.pins()); all != 1 {
		t.Errorf("got %d pins, want 1", all)
	}
}

func TestConcurrentRequestsGrowNetwork(t *testing.T) {
	a := newHost(t).run()
	a.newNetwork("n1")
	a.fill("n1", 2, 60)
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[netip.Addr]string{}
	var all []endpoint.Sandbox
	for i := range 24 {
		wg.Go(func() {
			sb, err := a.sandboxes.Create(context.Background(),
				requestOn(id.New(), endpoint.Spec{Network: "n1"}))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			addr := sb.Endpoints[0].IPv4.Addr()
			if seen[addr] != "" {
				t.Errorf("%s was allocated twice", addr)
			}
			seen[addr], all = fmt.Sprint(i), append(all, sb)
		})
	}

	wg.Wait()
	for _, sb := range all {
		has(t, "eth0", a.in(sb, "ip", "-4", "-o", "addr", "show", "eth0"), sb.Endpoints[0].IPv4.Addr().String()+"/25")
	}

	a.mustReach(all[0].NetnsPath, "172.18.0.1")
}

func TestCrashedGrowthIsCompleted(t *testing.T) {
	h := newHost(t)
	a := h.run()
	n := a.newNetwork("n1")
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	grown, _ := a.store.Network(n.ID)
	grown.Spec.Pools = []network.Pool{grown.Spec.Pools[0]}
	grown.Spec.Pools[0].Subnet, grown.Status = netip.MustParsePrefix("172.18.0.0/25"), grown.Status.Changed()
	if err := a.store.PutNetworks(grown); err != nil { // the state when the agent was killed
		t.Fatal(err)
	}

	a.stop()
	b := h.run()
	has(t, "eth0", b.in(sb, "ip", "-4", "addr", "show", "eth0"), "172.18.0.2/25")
	has(t, "the bridge", b.ns.Run("ip", "-4", "addr", "show", n.Bridge().Device), "172.18.0.1/25")
	if got, err := b.sandboxes.Get(sb.Owner); err != nil || got.Endpoints[0].IPv4.String() != "172.18.0.2/25" {
		t.Errorf("got stored endpoints %+v, %v", got.Endpoints, err)
	}
}

func TestIPv6SubnetGrowsInUse(t *testing.T) {
	a := newHost(t).run()
	on6 := true
	n := a.network(network.Draft{Name: "n1", IPv6: &on6,
		Pools: []network.PoolSpec{{Subnet: netip.MustParsePrefix("10.1.0.0/24")},
			{Subnet: netip.MustParsePrefix("fd00:1::/64")}}})
	one, two := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"})),
		a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	a.update("n1", larger("10.1.0.0/16", "fd00:1::/48"))
	has(t, "the bridge", a.ns.Run("ip", "addr", "show", n.Bridge().Device), "10.1.0.1/16", "fd00:1::1/48")
	far := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1",
		IPv6: netip.MustParseAddr("fd00:1:0:7::9")}))
	for _, sb := range []endpoint.Sandbox{one, two} {
		now, _ := a.sandboxes.Get(sb.Owner)
		has(t, "eth0", a.in(sb, "ip", "addr", "show", "eth0"), now.Endpoints[0].IPv4.String(),
			now.Endpoints[0].IPv6.String())
		if now.Endpoints[0].IPv6.Bits() != 48 {
			t.Errorf("got stored address %s", now.Endpoints[0].IPv6)
		}
		has(t, "routes", a.in(sb, "ip", "-6", "route"), "default via fd00:1::1 dev eth0")
		a.mustReach(sb.NetnsPath, "fd00:1::1")
		a.mustReach(sb.NetnsPath, "fd00:1:0:7::9")
		a.mustReach(a.ns.Path(), sb.Endpoints[0].IPv6.Addr().String())
		a.mustReach(far.NetnsPath, sb.Endpoints[0].IPv6.Addr().String())
	}
}
