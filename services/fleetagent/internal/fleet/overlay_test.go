package fleet

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

func TestNetworksOfAFleet(t *testing.T) {
	t.Parallel()
	one, two, third := three(t)
	ctx := context.Background()
	must0(t, two.PublishHost(ctx, &fleetv1.HostInfo{Routes: []string{"10.128.0.0/18"}, UnderlayMtu: 1400}, 0))
	watching := two.watch()
	first := one.watch()
	first.until("the MTU of two", func() bool { return first.self.GetUnderlayMtu() == 1400 })

	app, err := one.create(1, "app", "")
	must0(t, err)
	if got := app.GetPools()[0].GetSubnet(); got != "10.128.64.0/20" || app.GetMtu() != 1350 ||
		app.GetPools()[0].GetGateway() != "10.128.64.1" {
		t.Errorf("got %v, want the first subnet next to the route of two", app)
	}
	for _, h := range []*host{two, third} { // known when create answers
		p, err := h.current()
		must0(t, err)
		p.mirror.Read(func(v *view.View) {
			if _, ok := v.Network(netID(1)); !ok {
				t.Errorf("%s does not know the network", h.name)
			}
		})
	}
	again, err := one.create(1, "app", "")
	if err != nil || again.GetPools()[0].GetSubnet() != "10.128.64.0/20" {
		t.Errorf("repeated: got %v, error %v", again, err)
	}

	_, err = one.create(2, "app", "")
	wantError(t, "name", err, fault.Exists, "network app: already exists")
	_, err = two.create(2, "other", "")
	wantError(t, "member", err, fault.Denied, "is not a manager")
	_, err = one.create(2, "other", "10.128.64.0/24")
	wantError(t, "overlap", err, fault.Conflict, "overlaps network app (10.128.64.0/20)")
	_, err = one.create(2, "other", "10.128.1.0/24")
	wantError(t, "route", err, fault.Conflict, "overlaps the route 10.128.0.0/18 of host host2")
	_, err = one.create(2, "other", "10.0.0.1/24")
	wantError(t, "bits", err, fault.Invalid, "has host bits")
	_, _, err = one.CreateNetwork(ctx, &fleetv1.OverlayNetwork{Id: netID(2), Name: "jumbo", Mtu: 9000}, false)
	wantError(t, "mtu", err, fault.Invalid,
		"9000 is too large: the MTU between hosts is 1400 (host host2), which leaves 1350")
	_, _, err = one.CreateNetwork(ctx, &fleetv1.OverlayNetwork{Id: netID(2), Name: "dual", Encrypted: true}, true)
	wantError(t, "encrypted", err, fault.Conflict, "cannot be encrypted: hosts without WireGuard: host1, host2, host3")
	for i, h := range []*host{one, two, third} {
		must0(t, h.PublishHost(ctx, &fleetv1.HostInfo{Routes: []string{"10.128.0.0/18"}[:i%2], UnderlayMtu: 1400,
			TunnelKeys: []*fleetv1.TunnelKey{{Generation: 1}}}, 0))
	}
	watching.until("the keys", func() bool {
		for _, h := range watching.hosts {
			if len(h.GetTunnelKeys()) == 0 {
				return false
			}
		}
		return len(watching.hosts) == 3
	})
	dual, _, err := one.CreateNetwork(ctx, &fleetv1.OverlayNetwork{Id: netID(2), Name: "dual", Encrypted: true}, true)
	if err != nil || len(dual.GetPools()) != 2 || dual.GetMtu() != 1340 ||
		!strings.HasSuffix(dual.GetPools()[1].GetSubnet(), "::/64") {
		t.Errorf("got %v, error %v", dual, err)
	}

	mtu := uint32(1300)
	changed, err := one.UpdateNetwork(ctx, &fleetv1.UpdateNetworkRequest{NetworkId: netID(1), Mtu: &mtu,
		Labels: map[string]string{"a": "b"}, SetDns: true, Dns: []string{"192.0.2.5"}})
	if err != nil || changed.GetMtu() != 1300 {
		t.Errorf("got %v, error %v", changed, err)
	}
	watching.until("the changed network", func() bool {
		n := watching.networks[netID(1)]
		return n.GetMtu() == 1300 && n.GetLabels()["a"] == "b" && len(n.GetDns()) == 1
	})
	one.removal(two, watching)
}

// removal deletes network 1 while two has it.
func (h *host) removal(two *host, watching *client) {
	t, ctx := h.t, context.Background()
	must0(t, two.MarkNetworkUp(ctx, netID(1)))
	wantError(t, "unknown", two.MarkNetworkUp(ctx, netID(9)), fault.NotFound, "not found")
	if _, err := two.claim(1, "10.128.64.0/20", ""); err != nil {
		t.Fatal(err)
	}
	must0(t, two.PublishEndpoints(ctx, &fleetv1.PublishEndpointsRequest{Endpoints: []*fleetv1.OverlayEndpoint{
		{NetworkId: netID(1), Owner: "c1", Addresses: []string{"10.128.64.9"}, Names: []string{"db"}}}}))
	p, err := h.current()
	must0(t, err)
	p.mirror.Await(ctx, func(v *view.View) bool { return len(v.OnNetwork(netID(1))) == 1 })
	wantError(t, "in use", h.RemoveNetwork(ctx, netID(1)), fault.Conflict, "has active endpoints: db on host host2")
	must0(t, two.PublishEndpoints(ctx, &fleetv1.PublishEndpointsRequest{All: true}))
	p.mirror.Await(ctx, func(v *view.View) bool { return len(v.OnNetwork(netID(1))) == 0 })
	must0(t, h.RemoveNetwork(ctx, netID(1)))
	must0(t, h.RemoveNetwork(ctx, netID(1))) // again

	watching.until("the deleted network", func() bool { return watching.networks[netID(1)].GetDeleted() })
	if _, err := two.claim(1, "10.128.64.0/20", ""); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got error %v for a block of a deleted network", err)
	}
	_, err = h.create(3, "app", "10.128.64.0/24") // the name is free, the subnet is not
	wantError(t, "unconfirmed", err, fault.Conflict, "overlaps the deleted network app, which some hosts still have")
	must0(t, two.ConfirmNetworkRemoved(ctx, netID(1)))
	if _, err = h.create(3, "app", "10.128.64.0/24"); err != nil {
		t.Errorf("after the last host confirmed: %v", err)
	}
	watching.until("the end of the network", func() bool {
		return watching.networks[netID(1)] == nil && watching.networks[netID(3)] != nil
	})
}

func TestBlocksBelongToOneHost(t *testing.T) {
	t.Parallel()
	one, two, third := three(t)
	ctx := context.Background()
	_, err := one.create(1, "app", "10.5.0.0/25") // 16 blocks of 8 addresses
	must0(t, err)
	clients := []*client{one.watch(), two.watch(), third.watch()}
	hosts := []*host{one, two, third}
	var claiming sync.WaitGroup
	var mu sync.Mutex
	owners := map[string]string{}
	for _, h := range hosts { // all race for the last blocks
		claiming.Go(func() {
			for {
				p, err := h.claim(1, "10.5.0.0/25", "")
				if fault.KindOf(err) == fault.Exhausted {
					return
				}
				mu.Lock()
				if other, taken := owners[p]; taken || err != nil {
					t.Errorf("%s got %s, which %s has, error %v", h.name, p, other, err)
					mu.Unlock()
					return
				}
				owners[p] = h.name
				mu.Unlock()
			}
		})
	}
	claiming.Wait()
	if len(owners) != 16 {
		t.Errorf("got %d blocks, want 16: %v", len(owners), owners)
	}
	for _, c := range clients {
		c.until("all blocks", func() bool { return len(c.blocks) == 16 })
	}
	start := time.Now()
	_, err = two.claim(1, "10.5.0.0/25", "")
	wantError(t, "exhausted", err, fault.Exhausted, "has no free block: 16 belong to host1 (")
	if took := time.Since(start); took > 20*time.Second { // one second on a machine without load
		t.Errorf("the answer took %s", took)
	}
	wantError(t, "foreign", two.ReleaseBlock(ctx, netID(1), netip.MustParsePrefix("10.6.1.0/29"), "x"), fault.Conflict,
		"is not of this host")
	one.exchange(two, clients, owners)
}

// exchange lets two get addresses of a block of one, and release a block.
func (h *host) exchange(two *host, clients []*client, owners map[string]string) {
	t, ctx := h.t, context.Background()
	var own, foreign string
	for p, name := range owners {
		if name == h.name {
			own = p
		}
		if name == two.name {
			foreign = p
		}
	}
	if own == "" || foreign == "" {
		t.Fatalf("got owners %v", owners)
	}
	clients[0].mu.Lock()
	clients[0].give = true
	clients[0].mu.Unlock()
	must0(t, h.ReportUsage(ctx, []*fleetv1.BlockUsage{{NetworkId: netID(1), Prefix: own, Used: 1, Free: 7}}))
	second, err := two.current()
	must0(t, err)
	first, err := h.current()
	must0(t, err)
	second.mirror.Await(ctx, func(v *view.View) bool { return len(v.Usage(first.m.Host)) == 1 })

	given := two.given("")
	if !netip.MustParsePrefix(own).Contains(netip.MustParsePrefix(given).Addr()) ||
		!strings.HasSuffix(given, "/30") {
		t.Errorf("got %s, want half of %s", given, own)
	}
	low := netip.PrefixFrom(netip.MustParsePrefix(own).Addr(), 30).String()
	must0(t, h.ReportUsage(ctx, []*fleetv1.BlockUsage{{NetworkId: netID(1), Prefix: low, Used: 1, Free: 3}}))
	second.mirror.Await(ctx, func(v *view.View) bool { return v.Usage(first.m.Host)[0].GetPrefix() == low })
	exact := netip.PrefixFrom(netip.MustParsePrefix(own).Addr().Next(), 32).String()
	if got := two.given(exact); got != exact {
		t.Errorf("static address: got %s, want %s", got, exact)
	}
	for _, c := range clients {
		c.until("divided blocks", func() bool {
			return c.blocks[own] == nil && c.blocks[given].GetHostId() == second.m.Host &&
				c.blocks[exact].GetHostId() == second.m.Host
		})
	}

	must0(t, two.ReleaseBlock(ctx, netID(1), netip.MustParsePrefix(foreign), ""))
	_, err = h.claim(1, "10.5.0.0/25", netip.PrefixFrom(netip.MustParsePrefix(foreign).Addr(), 32).String())
	wantError(t, "quarantine", err, fault.Busy, "was released with block "+foreign)
	if eventually(func() bool { err = claimOf(h, foreign); return err == nil }) {
		return
	}
	t.Errorf("after the quarantine: %v", err)
}

// given claims addresses that another host gives away, which it may not do in time on a loaded machine.
func (h *host) given(exact string) (got string) {
	h.t.Helper()
	var err error
	if !eventually(func() bool {
		got, err = h.claim(1, "10.5.0.0/25", exact)
		return err == nil
	}) {
		h.t.Fatalf("nothing given: %v", err)
	}
	return got
}

func claimOf(h *host, block string) error {
	_, err := h.claim(1, "10.5.0.0/25", block)
	return err
}

func TestIdleBlocksAreReturned(t *testing.T) {
	t.Parallel()
	one := newHost(t, 1)
	one.found()
	_, err := one.create(1, "app", "10.5.0.0/24")
	must0(t, err)
	c := one.watch()
	c.give = true
	block, err := one.claim(1, "10.5.0.0/24", "")
	must0(t, err)
	must0(t, one.ReportUsage(context.Background(), []*fleetv1.BlockUsage{{NetworkId: netID(1), Prefix: block,
		Free: 8}}))
	c.until("the return of the block", func() bool { return c.blocks[block] == nil })
}
