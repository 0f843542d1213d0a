package fleet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

func TestEndpointsReachOtherHosts(t *testing.T) {
	t.Parallel()
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
	if took := time.Since(start); fault.KindOf(err) != fault.Unavailable || took > 20*time.Second {
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

func TestHostWritesItsOwnRecordsOnly(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	if !eventually(func() bool { err = claimOf(one, block); return err == nil }) {
		t.Fatal(err)
	}
	must0(t, two.Leave(ctx, true))
	if _, err := os.Stat(two.cfg.ReplicaDir); !os.IsNotExist(err) {
		t.Errorf("got the copy of the store left: %v", err)
	}
}

func TestDamagedRecordIsSetAside(t *testing.T) {
	t.Parallel()
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
	if !eventually(func() bool { return strings.Contains(one.log.String(), "record set aside") }) {
		t.Error("nothing was logged")
	}
}

func TestStoreRestoredFromBackup(t *testing.T) {
	t.Parallel()
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

	one.stop()
	must0(t, one.store().Stop(ctx))
	must0(t, os.RemoveAll(one.cfg.StoreDir))
	must0(t, os.CopyFS(one.cfg.StoreDir, os.DirFS(saved)))
	one.start()
	p, err := one.current()
	must0(t, err)
	for _, key := range []string{p.keys.Network(netID(2)), p.keys.NetworkName("late"), p.keys.Host(third.id()),
		p.keys.Block(netID(1), netip.MustParsePrefix(block)), p.keys.Block(netID(1), netip.MustParsePrefix(foreign))} {
		if !eventually(func() bool {
			_, found, err := p.client.Get(ctx, key)
			return err == nil && found
		}) {
			t.Fatalf("%s was not added to the restored store; log:\n%s", key, one.log)
		}
	}
	one.await("host1 alive, host2 alive, host3 alive") // all have their rights
	c.until("everything, all the time", holds)
	if !eventually(func() bool { return strings.Contains(two.log.String(), "restored from a backup") }) {
		t.Error("nothing was logged")
	}
	c.until("everything, after the store was replaced", holds)
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
	t.Parallel()
	one := newHost(t, 1)
	one.found()
	p, err := one.current()
	must0(t, err)
	epoch := p.publisher.Epoch()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	key := p.keys.Presence(one.id())
	p.client.Keep(ctx, etcd.Presence{Key: key, Epoch: p.keys.Epoch(one.id()), Life: time.Minute,
		Data: []byte("192.0.2.99 since boot of another machine")}, func(_ int64, err error) {
		wantError(t, "copy", err, fault.Conflict, "is alive already, as "+one.address+" since boot ")
		wantError(t, "copy", err, fault.Conflict, "this machine is 192.0.2.99 since boot of another machine")
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
	t.Parallel()
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
