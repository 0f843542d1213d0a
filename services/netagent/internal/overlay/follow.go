package overlay

import (
	"context"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

const (
	// firstPause and lastPause bound the delay between attempts to watch, which doubles each time.
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
	// debounce joins bursts of kernel events.
	debounce = 100 * time.Millisecond
	// resyncInterval is the interval at which the tunnel is compared without a reason.
	resyncInterval = 5 * time.Minute
	// tendInterval is the interval of what can wait: unused networks, and reports to fleetagent.
	tendInterval = 10 * time.Second
)

// Run follows the fleet until ctx ends.
func (c *Controller) Run(ctx context.Context, containers Containers) {
	if c.Fleet == nil {
		return
	}

	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { c.receive(ctx, containers) })
	all.Go(func() { c.repair(ctx) })
	all.Go(func() { c.tendAll(ctx, containers) })
	if c.paths != nil {
		all.Go(func() { c.paths.Run(ctx) })
	}
	all.Go(func() { c.Encryption.Run(ctx, c.drift.Notify) })
	for _, name := range append(network.EncryptedDevices(), network.TunnelDevice) {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := c.Kernel.WatchTunnel(ctx, name, c.drift.Notify); err != nil {
					c.Log.Warn("tunnel watch failed, polling", "error", err)
					wait(ctx, lastPause)
				}
			}
		})
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// receive applies the view of the fleet and its changes.
func (c *Controller) receive(ctx context.Context, containers Containers) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		stream, err := c.Fleet.WatchOverlay(ctx, &fleetv1.WatchOverlayRequest{})
		for v := newView(); err == nil; {
			var m *fleetv1.WatchOverlayResponse
			if m, err = stream.Recv(); err != nil {
				break
			}
			pause = firstPause
			if v = v.with(m); m.GetSynced() {
				c.take(ctx, v, m.GetRequests(), containers)
			}
		}
		if ctx.Err() == nil {
			c.Log.Debug("view of the fleet ended, retrying", "error", err)
			wait(ctx, pause)
		}
	}
}

// take applies a complete view. The tunnel comes first, since other hosts may send already.
func (c *Controller) take(ctx context.Context, v *view, asked []*fleetv1.BlockRequest, containers Containers) {
	c.follows.Lock()
	defer c.follows.Unlock()

	c.seen.Store(v)
	c.mu.Lock()
	c.requests = append(c.requests, asked...)
	maps.DeleteFunc(c.claimed, func(p netip.Prefix, _ string) bool { return v.blocks[p] != nil })
	maps.DeleteFunc(c.leaving, func(p netip.Prefix, id string) bool {
		return !slices.ContainsFunc(v.own(id), p.Overlaps)
	})
	maps.DeleteFunc(c.fresh, func(id string, _ bool) bool { return v.networks[id] != nil })
	c.mu.Unlock()

	if err := c.syncTunnel(ctx); err != nil && ctx.Err() == nil {
		c.Log.Warn("tunnel not complete, retrying", "error", err)
		c.drift.Notify()
	}

	for _, id := range slices.Sorted(maps.Keys(v.networks)) {
		if err := c.store(ctx, v.networks[id], containers); err != nil {
			c.Log.Error("network of the fleet cannot be used", "network", v.networks[id].GetName(), "error", err)
		}
	}
	c.storeBlocks(v)

	setPaths(c.paths, v, c.Encryption.Published())
	c.once.Do(func() { close(c.synced) })
	c.tend.Notify()
}

// store stores a network of the fleet, and applies its changes if it is set up here.
func (c *Controller) store(ctx context.Context, o *fleetv1.OverlayNetwork, containers Containers) error {
	if o.GetDeleted() {
		return nil
	}
	want, err := networkFromProto(o)
	if err != nil {
		return err
	}

	have, ok := c.Store.Network(want.ID)
	if !ok {
		if err := c.Store.PutNetworks(store.Network{Network: want}); err != nil {
			return err
		}
		c.emit(want, "create")
		return nil
	}

	if have.Name == want.Name && reflect.DeepEqual(have.Spec, want.Spec) || have.Status.Deleting {
		return nil
	}

	next, changed, err := c.Store.ChangeNetwork(want.ID, func(n store.Network, _ []endpoint.Sandbox) store.Network {
		n.Name, n.Spec, n.Status = want.Name, want.Spec, n.Status.Changed()
		return n
	})
	if err != nil || !changed {
		return err
	}
	c.emit(want, "update")
	return containers.Follow(ctx, next.Network)
}

func (c *Controller) emit(n network.Network, action string, more ...string) {
	attributes := map[string]string{"name": n.Name, "type": n.Driver}
	for i := 0; i+1 < len(more); i += 2 {
		attributes[more[i]] = more[i+1]
	}
	c.Events.Emit(events.Network, action, n.ID, attributes)
}

// storeBlocks stores the blocks of this host in its networks.
func (c *Controller) storeBlocks(v *view) {
	for _, n := range c.Store.Networks() {
		if n.IsGlobal() {
			if err := c.storeBlocksOf(v, n.ID); err != nil {
				c.Log.Error("blocks cannot be stored", "network", n.Name, "error", err)
			}
		}
	}
}

// storeBlocksOf stores the blocks of this host in a network: those of the view and those that were
// claimed since, without the parts that are being given away. A block is removed only while no
// endpoint is attached, which may just get an address of it.
func (c *Controller) storeBlocksOf(v *view, networkID string) error {
	c.mu.Lock()
	want := v.own(networkID)
	for p, network := range c.claimed {
		if network == networkID {
			want = append(want, p)
		}
	}
	for p, network := range c.leaving {
		if network == networkID {
			want = without(want, p)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(want, netip.Prefix.Compare)
	want = slices.Compact(want)

	n, ok := c.Store.Network(networkID)
	if !ok || slices.Equal(n.Status.Blocks, want) {
		return nil
	}
	if slices.ContainsFunc(n.Status.Blocks, func(p netip.Prefix) bool { return !slices.Contains(want, p) }) {
		defer c.Locks.WriteNetwork(networkID)()
	}
	_, _, err := c.Store.ChangeNetwork(networkID, func(n store.Network, _ []endpoint.Sandbox) store.Network {
		n.Status.Blocks = want
		return n
	})
	return err
}

// without returns blocks without a part: a block that contains it is divided.
func without(blocks []netip.Prefix, part netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, b := range blocks {
		if !b.Overlaps(part) {
			out = append(out, b)
			continue
		}
		for b.Bits() < part.Bits() { // the half without the part stays
			low, high := halves(b)
			if low.Overlaps(part) {
				low, high = high, low
			}
			out, b = append(out, low), high
		}
	}
	return out
}

// halves returns the two halves of a prefix.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	b := p.Addr().AsSlice()
	b[p.Bits()/8] |= 1 << (7 - p.Bits()%8)
	middle, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(middle, p.Bits()+1)
}

// repair compares the tunnel with the kernel after kernel events and periodically.
func (c *Controller) repair(ctx context.Context) {
	tick := time.NewTicker(resyncInterval)
	defer tick.Stop()
	for last := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-c.drift:
			wait(ctx, debounce)
		case <-tick.C:
			c.forgetSent()
		}

		text := ""
		if err := c.syncTunnel(ctx); err != nil && ctx.Err() == nil {
			if text = err.Error(); text != last {
				c.Log.Error("tunnel reconcile failed, retrying", "error", err)
			}
			wait(ctx, time.Second)
			c.drift.Notify()
		}
		last = text
	}
}

// forgetSent makes the next sync send the tunnel to natagent again, which may have lost it.
func (c *Controller) forgetSent() {
	c.tunnels.Lock()
	defer c.tunnels.Unlock()
	c.sentAny = false
}
