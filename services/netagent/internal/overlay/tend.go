package overlay

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// tendAll does what can wait, after changes and periodically.
func (c *Controller) tendAll(ctx context.Context, containers Containers) {
	tick := time.NewTicker(tendInterval)
	defer tick.Stop()
	for {
		resting, probed := false, false // nothing has changed for a while
		select {
		case <-ctx.Done():
			return
		case <-c.tend:
			wait(ctx, debounce)
		case <-tick.C:
			resting = true
		case <-pathsChanged(c.paths):
			probed = true
		}

		v := c.seen.Load()
		if v == nil {
			continue
		}
		if probed {
			if v.self != nil {
				c.publishHost(ctx, v)
			}
			continue
		}

		c.removeDeleted(ctx, v, containers)
		if resting { // the next container may come at any moment
			c.removeUnused(ctx)
		}
		if v.self == nil {
			continue
		}
		c.answerRequests(ctx)
		c.claimAhead(ctx)
		if resting || c.publisher != v.self.GetHostId() {
			c.reportUsage(ctx)
		}
		if resting || c.publisher != v.self.GetHostId() ||
			!sameKeys(c.Encryption.Published(), c.published) {
			c.publishHost(ctx, v)
		}
	}
}

// logFailure logs what is retried with the next tick.
func (c *Controller) logFailure(what string, err error) {
	if err != nil {
		c.Log.Debug(what+" failed, retrying", "error", err)
	}
}

// removeUnused takes networks down that have no containers.
func (c *Controller) removeUnused(ctx context.Context) {
	changed := false
	for _, n := range c.Store.Networks() {
		if !n.IsGlobal() || n.Status.Deleting || len(c.Store.SandboxesOn(n.ID)) > 0 {
			continue
		}
		if !n.Status.Up && n.Status.AppliedFingerprint == "" { // otherwise a removal has failed
			continue
		}
		changed = true
		c.logFailure("removal of network "+n.Name+" from the host", c.tearDown(ctx, n.ID))
	}
	if changed {
		c.logFailure("change of the tunnel", c.syncTunnel(ctx))
	}
}

// removeDeleted removes networks that the fleet does not have any more, and confirms it.
func (c *Controller) removeDeleted(ctx context.Context, v *view, containers Containers) {
	for _, n := range c.Store.Networks() {
		if o := v.networks[n.ID]; !n.IsGlobal() || o != nil && !o.GetDeleted() || o == nil && c.isFresh(n.ID) {
			continue
		}
		for _, sb := range c.Store.SandboxesOn(n.ID) {
			c.Log.Warn("network was deleted, disconnecting container", "network", n.Name, "container", sb.DisplayName())
			c.emit(n.Network, "overlay-lost", "container", sb.Owner)
			_, err := containers.Disconnect(ctx, sb.Owner, n.ID)
			c.logFailure("disconnection from network "+n.Name, err)
		}
		c.logFailure("removal of network "+n.Name, c.forget(ctx, n.ID))
	}

	for id, o := range v.networks {
		if _, stored := c.Store.Network(id); o.GetDeleted() && !stored && !c.removed[id] {
			_, err := c.Fleet.ConfirmNetworkRemoved(ctx, &fleetv1.ConfirmNetworkRemovedRequest{NetworkId: id})
			c.logFailure("confirmation of removed network", err)
			c.removed[id] = err == nil
		}
	}
}

// isFresh reports whether this host has created a network that no view has had yet.
func (c *Controller) isFresh(networkID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fresh[networkID]
}

// forget removes a deleted network without containers from host and store.
func (c *Controller) forget(ctx context.Context, networkID string) error {
	was, _ := c.Store.Network(networkID)
	if o := c.seen.Load().networks[networkID]; was.Name == "" { // an earlier removal has failed
		was.Name = o.GetName()
	}

	on, err := c.Store.MarkDeleting(networkID, true)
	if err != nil || len(on) > 0 {
		return err
	}

	defer c.turns.Lock(networkID)()
	n, ok := c.Store.Network(networkID)
	if !ok {
		return nil
	}
	n.Status.Up = true // so that its rules are removed too
	if err := c.Bringup.Remove(ctx, n.Network); err != nil {
		return err
	}
	c.Allocator.RemoveNetwork(networkID)
	if _, err := c.Store.DeleteNetwork(networkID); err != nil {
		return err
	}
	c.emit(was.Network, "destroy")
	return c.syncTunnel(ctx)
}

// claimAhead claims blocks for networks whose addresses are three quarters in use, so that a start
// need not wait for it.
func (c *Controller) claimAhead(ctx context.Context) {
	for _, n := range c.Store.Networks() {
		if !n.IsGlobal() || !n.Status.Up || n.Status.Deleting {
			continue
		}
		for _, p := range n.Spec.Pools {
			pool := n.Addresses(p)
			if size := pool.Size(); size > 0 && c.Allocator.Count(n.ID, pool).Free < size/4 {
				done := c.turns.Lock(n.ID + p.Subnet.String())
				c.logFailure("claim of a block of "+p.Subnet.String(), c.claim(ctx, n, p.Subnet, netip.Prefix{}))
				done()
			}
		}
	}
}

// More claims a block for an exhausted pool, or the static address of the request.
func (c *Controller) More(ctx context.Context, short network.PoolShortage) error {
	n, ok := c.Store.Network(short.NetworkID)
	if !ok || n.Status.Deleting {
		return nil // the caller looks up the network again and reports it
	}

	exact := netip.Prefix{}
	if short.Want.IsValid() {
		exact = netip.PrefixFrom(short.Want, short.Want.BitLen())
	}

	defer c.turns.Lock(n.ID + short.Subnet.String())()
	n, _ = c.Store.Network(short.NetworkID) // another request may have claimed meanwhile
	for _, p := range n.Spec.Pools {
		if p.Subnet != short.Subnet {
			continue
		}
		if exact.IsValid() && n.Owns(short.Want) || !exact.IsValid() && c.allocatable(n, p) {
			return nil
		}
	}
	return c.claim(ctx, n, short.Subnet, exact)
}

// allocatable reports whether a free address is not cooling down.
func (c *Controller) allocatable(n store.Network, p network.Pool) bool {
	addr, ok := c.Allocator.Allocate(n.ID, n.Addresses(p), "claim")
	if ok {
		c.Allocator.Release(n.ID, addr)
	}
	return ok
}

// claim claims a block and stores it.
func (c *Controller) claim(ctx context.Context, n store.Network, subnet, exact netip.Prefix) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := &fleetv1.ClaimBlockRequest{NetworkId: n.ID, Subnet: subnet.String()}
	if exact.IsValid() {
		req.Prefix = exact.String()
	}

	resp, err := c.Fleet.ClaimBlock(ctx, req)
	if err != nil {
		return err
	}
	block, err := netip.ParsePrefix(resp.GetBlock().GetPrefix())
	if err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "fleetagent returned an invalid block")
	}

	c.mu.Lock()
	if v := c.seen.Load(); v == nil || v.blocks[block] == nil {
		c.claimed[block] = n.ID
	}
	c.mu.Unlock()
	c.Log.Info("block claimed", "network", n.Name, "block", block)

	v := c.seen.Load()
	if v == nil || v.self == nil {
		return fault.New(fault.Unavailable, n.Subject(), "the host has left its fleet")
	}
	return c.storeBlocksOf(v, n.ID)
}

// answerRequests releases parts of blocks to hosts that ask for them, and unused blocks.
func (c *Controller) answerRequests(ctx context.Context) {
	c.mu.Lock()
	asked := c.requests
	c.requests = nil
	c.mu.Unlock()
	for _, r := range asked {
		c.logFailure("release of addresses of "+r.GetPrefix(), c.give(ctx, r))
	}
}

// give releases a part of a block without addresses in use. It stops the allocation from the part
// before. Without such a part it does nothing.
func (c *Controller) give(ctx context.Context, r *fleetv1.BlockRequest) error {
	n, ok := c.Store.Network(r.GetNetworkId())
	block, err := netip.ParsePrefix(r.GetPrefix())
	if !ok || err != nil || !slices.ContainsFunc(n.Status.Blocks, block.Overlaps) {
		return err
	}

	part := block
	if r.GetAddress() != "" {
		addr, err := netip.ParseAddr(r.GetAddress())
		if err != nil {
			return err
		}
		part = netip.PrefixFrom(addr, addr.BitLen())
	} else if r.GetToHostId() != "" {
		if part, ok = c.freePart(n, block); !ok {
			return nil
		}
	}

	v := c.seen.Load()
	c.leave(part, n.ID, true)
	err = c.storeBlocksOf(v, n.ID)
	if err == nil && !c.isFree(n, part) {
		c.leave(part, n.ID, false)
		return c.storeBlocksOf(v, n.ID)
	}
	if err == nil {
		_, err = c.Fleet.ReleaseBlock(ctx, &fleetv1.ReleaseBlockRequest{NetworkId: n.ID, Prefix: part.String(),
			ToHostId: r.GetToHostId()})
	}

	if err == nil {
		return nil // until the view has the result
	}
	c.leave(part, n.ID, false)
	return cmp.Or(c.storeBlocksOf(v, n.ID), err)
}

// leave marks a part of a block as being given away, or not.
func (c *Controller) leave(part netip.Prefix, networkID string, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if on {
		c.leaving[part] = networkID
	} else {
		delete(c.leaving, part)
	}
}

// freePart returns the largest part of a block, at most a half, without addresses in use.
func (c *Controller) freePart(n store.Network, block netip.Prefix) (netip.Prefix, bool) {
	if block.IsSingleIP() {
		return block, false
	}
	for parts := []netip.Prefix{block}; !parts[0].IsSingleIP(); {
		var smaller []netip.Prefix
		for _, p := range parts {
			low, high := halves(p)
			smaller = append(smaller, high, low) // low addresses are allocated first
		}
		if i := slices.IndexFunc(smaller, func(p netip.Prefix) bool { return c.isFree(n, p) }); i >= 0 {
			return smaller[i], true
		}
		parts = smaller
	}
	return block, false
}

// isFree reports whether no address of a part is in use or in its cooldown.
func (c *Controller) isFree(n store.Network, part netip.Prefix) bool {
	pool := c.poolOf(n, part)
	return len(c.Allocator.FreeRanges(n.ID, pool)) == 1
}

// poolOf returns a block as a pool.
func (c *Controller) poolOf(n store.Network, block netip.Prefix) ipam.Pool {
	for _, p := range n.Spec.Pools {
		if p.Subnet.Overlaps(block) {
			pool := n.Addresses(p)
			pool.Ranges = []netip.Prefix{block}
			return pool
		}
	}
	return ipam.Pool{Subnet: block, Ranges: []netip.Prefix{block}}
}
