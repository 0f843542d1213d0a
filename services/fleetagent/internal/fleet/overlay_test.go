package fleet

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// client holds the state of a service of a host, from its streams.
type client struct {
	t *testing.T
	h *host

	mu        sync.Mutex
	self      *fleetv1.OverlaySelf
	hosts     map[string]*fleetv1.OverlayHost
	networks  map[string]*fleetv1.OverlayNetwork
	blocks    map[string]*fleetv1.OverlayBlock
	endpoints map[string]*fleetv1.OverlayEndpoint
	synced    bool
	give      bool // answer requests for blocks
}

// watch follows the streams of a host until the test ends.
func (h *host) watch() *client {
	c := &client{t: h.t, h: h}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = h.WatchOverlay(ctx, c.overlay) })
	tasks.Go(func() { _ = h.WatchEndpoints(ctx, c.names) })
	h.t.Cleanup(func() {
		cancel()
		tasks.Wait()
	})
	return c
}

func (c *client) overlay(m *fleetv1.WatchOverlayResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.GetReset_() {
		c.self, c.hosts, c.networks = nil, map[string]*fleetv1.OverlayHost{}, map[string]*fleetv1.OverlayNetwork{}
		c.blocks = map[string]*fleetv1.OverlayBlock{}
	}
	if m.GetSelf() != nil {
		c.self = m.GetSelf()
	}
	for _, id := range m.GetRemovedHosts() {
		delete(c.hosts, id)
	}
	for _, h := range m.GetHosts() {
		c.hosts[h.GetId()] = h
	}
	for _, id := range m.GetRemovedNetworks() {
		delete(c.networks, id)
	}
	for _, n := range m.GetNetworks() {
		c.networks[n.GetId()] = n
	}
	for _, p := range m.GetRemovedBlocks() {
		delete(c.blocks, p)
	}
	for _, b := range m.GetBlocks() {
		c.blocks[b.GetPrefix()] = b
	}
	c.synced = m.GetSynced()
	for _, r := range m.GetRequests() {
		if c.give {
			go c.release(r)
		}
	}
	return nil
}

// release responds to a request: with the upper half of the block, the address, or the whole block.
func (c *client) release(r *fleetv1.BlockRequest) {
	p := netip.MustParsePrefix(r.GetPrefix())
	switch {
	case r.GetAddress() != "":
		p = netip.PrefixFrom(netip.MustParseAddr(r.GetAddress()), 32)
	case r.GetToHostId() != "":
		b := p.Addr().As4()
		b[3] |= 1 << (31 - p.Bits())
		p = netip.PrefixFrom(netip.AddrFrom4(b), p.Bits()+1)
	}
	if err := c.h.ReleaseBlock(context.Background(), r.GetNetworkId(), p, r.GetToHostId()); err != nil {
		c.t.Logf("%s cannot release %s: %v", c.h.name, p, err)
	}
}

func (c *client) names(m *fleetv1.WatchEndpointsResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.GetReset_() {
		c.endpoints = map[string]*fleetv1.OverlayEndpoint{}
	}
	for _, k := range m.GetRemoved() {
		delete(c.endpoints, k.GetHostId()+k.GetNetworkId()+k.GetOwner())
	}
	for _, e := range m.GetEndpoints() {
		c.endpoints[e.GetHostId()+e.GetNetworkId()+e.GetOwner()] = e
	}
	return nil
}

// until waits for a condition of what the client knows.
func (c *client) until(what string, holds func() bool) {
	c.t.Helper()
	for range 1000 {
		c.mu.Lock()
		ok := holds()
		c.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.Fatalf("%s does not see: %s; hosts %v, networks %v, blocks %v, endpoints %v", c.h.name, what, c.hosts,
		c.networks, c.blocks, c.endpoints)
}

// text describes what a client knows.
func (c *client) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(slices.Sorted(maps.Keys(c.hosts)), slices.Sorted(maps.Keys(c.networks)),
		slices.Sorted(maps.Keys(c.blocks)))
}

func netID(n int) string { return fmt.Sprintf("%064x", n) }

func (h *host) create(n int, name, subnet string) (*fleetv1.OverlayNetwork, error) {
	wanted := &fleetv1.OverlayNetwork{Id: netID(n), Name: name}
	if subnet != "" {
		wanted.Pools = []*fleetv1.OverlayPool{{Subnet: subnet}}
	}
	got, warnings, err := h.CreateNetwork(context.Background(), wanted, false)
	if len(warnings) > 0 {
		h.t.Errorf("got warnings %v", warnings)
	}
	return got, err
}

func (h *host) claim(n int, subnet, exact string) (string, error) {
	var p netip.Prefix
	if exact != "" {
		p = netip.MustParsePrefix(exact)
	}
	b, err := h.ClaimBlock(context.Background(), netID(n), netip.MustParsePrefix(subnet), p)
	return b.GetPrefix(), err
}

// wantError checks the kind and the text of an error.
func wantError(t *testing.T, what string, err error, kind fault.Kind, text string) {
	t.Helper()
	if fault.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got error %v, want %q", what, err, text)
	}
}

func must0(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// three starts a fleet of three hosts.
func three(t *testing.T) (one, two, three *host) {
	t.Helper()
	one, two, three = newHost(t, 1), newHost(t, 2), newHost(t, 3)
	one.found()
	token := one.token(2)
	two.join(token)
	three.join(token)
	for _, h := range []*host{one, two, three} {
		h.await("host1 alive, host2 alive, host3 alive")
	}
	return one, two, three
}

func TestNetworksOfAFleet(t *testing.T) {
	one, two, third := three(t)
	ctx := context.Background()
	must0(t, two.PublishHost(ctx, &fleetv1.HostInfo{Routes: []string{"10.128.0.0/18"}, UnderlayMtu: 1400}))
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
	if took := time.Since(start); took > 2*time.Second {
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

	given, err := two.claim(1, "10.5.0.0/25", "")
	if err != nil || !netip.MustParsePrefix(own).Contains(netip.MustParsePrefix(given).Addr()) ||
		!strings.HasSuffix(given, "/30") {
		t.Errorf("got %s, error %v, want half of %s", given, err, own)
	}
	low := netip.PrefixFrom(netip.MustParsePrefix(own).Addr(), 30).String()
	must0(t, h.ReportUsage(ctx, []*fleetv1.BlockUsage{{NetworkId: netID(1), Prefix: low, Used: 1, Free: 3}}))
	second.mirror.Await(ctx, func(v *view.View) bool { return v.Usage(first.m.Host)[0].GetPrefix() == low })
	exact := netip.PrefixFrom(netip.MustParsePrefix(own).Addr().Next(), 32).String()
	if got, err := two.claim(1, "10.5.0.0/25", exact); err != nil || got != exact {
		t.Errorf("static address: got %s, error %v, want %s", got, err, exact)
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
	for range 200 { // quarantine is a second in this test
		if err = claimOf(h, foreign); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("after the quarantine: %v", err)
}

func claimOf(h *host, block string) error {
	_, err := h.claim(1, "10.5.0.0/25", block)
	return err
}

func TestIdleBlocksAreReturned(t *testing.T) {
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

func TestEndpointsReachOtherHosts(t *testing.T) {
	one, two, _ := three(t)
	ctx := context.Background()
	_, err := one.create(1, "app", "")
	must0(t, err)
	must0(t, one.MarkNetworkUp(ctx, netID(1)))
	c := two.watch()
	publish := func(all bool, owners ...string) {
		r := &fleetv1.PublishEndpointsRequest{All: all}
		for _, o := range owners {
			r.Endpoints = append(r.Endpoints, &fleetv1.OverlayEndpoint{NetworkId: netID(1), Owner: o,
				Addresses: []string{"10.128.0.9"}, Names: []string{"name-" + o}})
		}
		must0(t, one.PublishEndpoints(ctx, r))
	}
	publish(true, "c1", "c2")
	p, err := two.current()
	must0(t, err)
	p.mirror.Await(ctx, func(v *view.View) bool { return len(v.OnNetwork(netID(1))) == 2 })
	if len(c.endpoints) != 0 {
		t.Errorf("got endpoints %v of a network that the host does not have", c.endpoints)
	}
	must0(t, two.MarkNetworkUp(ctx, netID(1)))
	c.until("both endpoints", func() bool { return len(c.endpoints) == 2 })
	publish(false, "c3")
	c.until("a third", func() bool { return len(c.endpoints) == 3 })
	publish(true, "c1")
	c.until("one only", func() bool { return len(c.endpoints) == 1 })

	// While the store is away, changes are kept, and agents start with what they knew.
	time.Sleep(2 * saveTime)
	want := c.text()
	one.stop() // or it would start the store again
	must0(t, one.store().Stop(ctx))
	two.stop()
	two.start()
	c = two.watch()
	c.until("the copy on disk", func() bool { return c.synced && len(c.endpoints) == 1 && c.self != nil })
	if got := c.text(); got != want {
		t.Errorf("from the copy: got %s, want %s", got, want)
	}
	must0(t, two.MarkNetworkUp(ctx, netID(1))) // asks the store nothing
	start := time.Now()
	_, err = two.claim(1, "10.128.0.0/20", "")
	if took := time.Since(start); fault.KindOf(err) != fault.Unavailable || took > 3*time.Second {
		t.Errorf("without the store: got error %v after %s", err, took)
	}
	must0(t, two.PublishEndpoints(ctx, &fleetv1.PublishEndpointsRequest{All: true,
		Endpoints: []*fleetv1.OverlayEndpoint{{NetworkId: netID(1), Owner: "c9", Names: []string{"kept"}}}}))
	one.start()
	first := one.watch()
	first.until("an endpoint published meanwhile", func() bool { return len(first.endpoints) == 1 })
	if len(c.endpoints) != 1 {
		t.Errorf("got endpoints %v after the outage", c.endpoints)
	}
}

// saveTime is longer than the delay until the copy is saved.
const saveTime = 500 * time.Millisecond

func TestHostWritesItsOwnRecordsOnly(t *testing.T) {
	one, two, _ := three(t)
	ctx := context.Background()
	_, err := one.create(1, "app", "10.5.0.0/24")
	must0(t, err)
	p, err := two.current()
	must0(t, err)
	first, err := one.current()
	must0(t, err)
	other := first.m.Host
	for _, key := range []string{p.keys.Info(other), p.keys.Epoch(other), p.keys.Endpoint(other, netID(1), "c"),
		p.keys.Mark(other, netID(1)), p.keys.Wish(other, netID(1)), p.keys.Presence(other), p.keys.Host(other),
		p.keys.Host(p.m.Host), p.keys.Network(netID(1)), p.keys.Pool(), p.keys.Settings(),
		p.keys.Block(netID(1), netip.MustParsePrefix("10.5.0.0/29"))} {
		if _, err := p.client.Commit(ctx, nil, etcd.Put(key, []byte("x"))); fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: got error %v", key, err)
		}
	}
	if _, err := p.client.Commit(ctx, nil, etcd.Put(p.keys.Info(p.m.Host), nil)); err != nil {
		t.Errorf("own record: %v", err)
	}
	// A manager knows the host by its certificate, and its registration by the epoch.
	c, err := p.caller(ctx)
	must0(t, err)
	c.Epoch--
	_, err = first.Claim(ctx, c, netID(1), netip.MustParsePrefix("10.5.0.0/24"), netip.Prefix{})
	wantError(t, "old epoch", err, fault.Denied, "has registered again meanwhile")
}

func TestRemovedHostIsFenced(t *testing.T) {
	one, two, _ := three(t)
	ctx := context.Background()
	_, err := one.create(1, "app", "10.5.0.0/25")
	must0(t, err)
	must0(t, two.MarkNetworkUp(ctx, netID(1)))
	block, err := two.claim(1, "10.5.0.0/25", "")
	must0(t, err)
	must0(t, two.PublishEndpoints(ctx, &fleetv1.PublishEndpointsRequest{Endpoints: []*fleetv1.OverlayEndpoint{
		{NetworkId: netID(1), Owner: "c1", Names: []string{"db"}, Addresses: []string{"10.5.0.2"}}}}))
	c := one.watch()
	must0(t, one.MarkNetworkUp(ctx, netID(1)))
	c.until("block and endpoint", func() bool { return c.blocks[block] != nil && len(c.endpoints) == 1 })

	two.stop()
	one.await("host1 alive, host2 suspect, host3 alive")
	c.until("a suspect host with its endpoint", func() bool { return len(c.endpoints) == 1 && len(c.hosts) == 3 })
	if _, err := one.RemoveHost(ctx, "host2", false); err != nil {
		t.Fatal(err)
	}
	c.until("nothing of the host", func() bool {
		return len(c.hosts) == 2 && c.blocks[block] == nil && len(c.endpoints) == 0
	})
	_, err = one.claim(1, "10.5.0.0/25", block)
	wantError(t, "quarantine", err, fault.Busy, "was released with block "+block)

	two.start() // it returns without knowing
	returned := two.watch()
	returned.until("that the host was removed", func() bool { return returned.self.GetRemoved() })
	returned.until("no network of the fleet", func() bool {
		return len(returned.networks)+len(returned.hosts)+len(returned.blocks)+len(returned.endpoints) == 0
	})
	_, err = two.claim(1, "10.5.0.0/25", "")
	if err == nil {
		t.Error("a removed host claimed a block")
	}
	for range 200 {
		if err = claimOf(one, block); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	must0(t, err)
	must0(t, two.Leave(ctx, true))
	if _, err := os.Stat(two.cfg.ReplicaDir); !os.IsNotExist(err) {
		t.Errorf("got the copy of the store left: %v", err)
	}
}

func TestDamagedRecordIsSetAside(t *testing.T) {
	one := newHost(t, 1)
	one.found()
	for n, subnet := range []string{"10.5.0.0/24", "10.6.0.0/24"} {
		_, err := one.create(n+1, fmt.Sprintf("net%d", n+1), subnet)
		must0(t, err)
	}
	c := one.watch()
	c.until("both networks", func() bool { return len(c.networks) == 2 })
	p, err := one.current()
	must0(t, err)
	_, err = p.client.Commit(context.Background(), nil, etcd.Put(p.keys.Network(netID(1)), []byte("edited by hand")),
		etcd.Put(p.keys.Network(netID(3)), nil), etcd.Put(p.keys.Blocks(netID(2))+"nonsense", nil))
	must0(t, err)
	p.mirror.Await(context.Background(), func(v *view.View) bool { return len(v.Damaged()) == 3 })
	if len(c.networks) != 2 {
		t.Errorf("got networks %v", c.networks)
	}
	if _, err := one.claim(2, "10.6.0.0/24", ""); err != nil {
		t.Errorf("the other network: %v", err)
	}
	one.stop()
	one.start()
	c = one.watch()
	c.until("the readable network after a restart", func() bool { return c.networks[netID(2)] != nil })
	if !strings.Contains(one.log.String(), "record set aside") {
		t.Error("nothing was logged")
	}
}

func TestStoreRestoredFromBackup(t *testing.T) {
	one, two, third := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	ctx := context.Background()
	two.join(one.found())
	_, err := one.create(1, "early", "10.5.0.0/25")
	must0(t, err)
	c := two.watch()
	one.stop()
	must0(t, one.store().Stop(ctx))
	saved := filepath.Join(t.TempDir(), "saved")
	must0(t, os.CopyFS(saved, os.DirFS(one.cfg.StoreDir)))
	one.start()
	one.await("host1 alive, host2 alive")

	third.join(one.token(1)) // none of this is in the backup
	_, err = one.create(2, "late", "")
	must0(t, err)
	block, err := two.claim(1, "10.5.0.0/25", "")
	must0(t, err)
	foreign, err := third.claim(1, "10.5.0.0/25", "")
	must0(t, err)
	holds := func() bool {
		return len(c.hosts) == 3 && len(c.networks) == 2 && c.blocks[block] != nil && c.blocks[foreign] != nil
	}
	c.until("everything", holds)
	time.Sleep(saveTime)

	one.stop()
	must0(t, one.store().Stop(ctx))
	must0(t, os.RemoveAll(one.cfg.StoreDir))
	must0(t, os.CopyFS(one.cfg.StoreDir, os.DirFS(saved)))
	one.start()
	p, err := one.current()
	must0(t, err)
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, key := range []string{p.keys.Network(netID(2)), p.keys.NetworkName("late"), p.keys.Host(third.id()),
		p.keys.Block(netID(1), netip.MustParsePrefix(block)), p.keys.Block(netID(1), netip.MustParsePrefix(foreign))} {
		for found := false; !found; time.Sleep(50 * time.Millisecond) {
			if _, found, _ = p.client.Get(limited, key); limited.Err() != nil {
				t.Fatalf("%s was not added to the restored store; log:\n%s", key, one.log)
			}
		}
	}
	one.await("host1 alive, host2 alive, host3 alive") // all have their rights
	if c.until("everything, all the time", holds); !strings.Contains(two.log.String(), "restored from a backup") {
		t.Error("nothing was logged")
	}
	if got, err := one.claim(1, "10.5.0.0/25", ""); err != nil || got == block || got == foreign {
		t.Errorf("got block %s, error %v", got, err)
	}
}

// id returns the ID of a host.
func (h *host) id() string {
	p, err := h.current()
	must0(h.t, err)
	return p.membership().Host
}

func TestCopyOfAHostIsRefused(t *testing.T) {
	one := newHost(t, 1)
	one.found()
	p, err := one.current()
	must0(t, err)
	epoch := p.publisher.Epoch()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	key := p.keys.Presence(one.id())
	p.client.Keep(ctx, etcd.Presence{Key: key, Epoch: p.keys.Epoch(one.id()), Life: time.Minute,
		Data: []byte("10.7.0.99 since boot of another machine")}, func(_ int64, err error) {
		wantError(t, "copy", err, fault.Conflict, "is alive already, as 10.7.0.1 since boot ")
		wantError(t, "copy", err, fault.Conflict, "this machine is 10.7.0.99 since boot of another machine")
		cancel()
	})
	if got, err := p.caller(context.Background()); err != nil || got.Epoch != epoch {
		t.Errorf("got epoch %d, error %v, want %d", got.Epoch, err, epoch)
	}
	if _, found, err := p.client.Get(context.Background(), key); err != nil || !found {
		t.Errorf("the presence of the host is gone: %v", err)
	}
}

func TestBlocksOfRangesAndFamilies(t *testing.T) {
	one := newHost(t, 1)
	one.found()
	c := one.watch()
	n, _, err := one.CreateNetwork(context.Background(), &fleetv1.OverlayNetwork{Id: netID(1), Name: "app",
		Pools: []*fleetv1.OverlayPool{{Subnet: "10.5.0.0/24", IpRange: "10.5.0.64/27", Gateway: "10.5.0.65",
			AuxAddresses: map[string]string{"router": "10.5.0.66"}}}}, true)
	must0(t, err)
	taken := map[string]bool{}
	for { // all of the range, without its reserved addresses
		block, err := one.claim(1, "10.5.0.0/24", "")
		if fault.KindOf(err) == fault.Exhausted {
			break
		}
		must0(t, err)
		p := netip.MustParsePrefix(block)
		if !netip.MustParsePrefix("10.5.0.64/27").Contains(p.Addr()) || taken[block] || block == "10.5.0.65/32" ||
			block == "10.5.0.66/32" {
			t.Fatalf("got %s", block)
		}
		taken[block] = true
	}
	if len(taken) != 20 { // the most for one host
		t.Errorf("got %d blocks: %v", len(taken), taken)
	}
	if got, err := one.claim(1, "10.5.0.0/24", "10.5.0.9/32"); err != nil || got != "10.5.0.9/32" {
		t.Errorf("static address outside of the range: got %s, error %v", got, err)
	}

	six := n.GetPools()[1].GetSubnet()
	block, err := one.claim(1, six, "")
	must0(t, err)
	p := netip.MustParsePrefix(block)
	if p.Bits() != 122 || !netip.MustParsePrefix(six).Contains(p.Addr()) {
		t.Errorf("got block %s of %s", block, six)
	}
	inside := netip.PrefixFrom(p.Addr().Next(), 128).String()
	if got, err := one.claim(1, six, inside); err != nil || got != block {
		t.Errorf("address of an own block: got %s, error %v, want the block %s", got, err, block)
	}
	for _, exact := range []string{"10.5.0.0/24", "10.6.0.1/32", "fd00::1/128"} {
		if _, err := one.claim(1, "10.5.0.0/24", exact); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got error %v", exact, err)
		}
	}
	if _, err := one.claim(1, "10.9.0.0/24", ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("foreign subnet: got error %v", err)
	}

	c.until("all blocks", func() bool { return len(c.blocks) == 22 })
	must0(t, one.Leave(context.Background(), false))
	c.until("no fleet", func() bool { return c.self == nil && len(c.networks)+len(c.blocks)+len(c.hosts) == 0 })
}
