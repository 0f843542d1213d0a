package bringup

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

const (
	resyncInterval = 30 * time.Second
	// debounce joins bursts of link events.
	debounce = 50 * time.Millisecond
	// watchRetry is the delay before a failed netlink watch is restarted.
	watchRetry = time.Second
)

// WaitForNatagent waits until natagent has acknowledged each network once. Networks that were
// acknowledged before are sent in the background.
func (r *Controller) WaitForNatagent(ctx context.Context, background func(func())) error {
	for _, n := range r.store.Networks() {
		wait := func() error {
			return r.natClient.Retry(ctx, n.Network, func() error { return r.sendIfStored(ctx, n.ID, r.syncStored) })
		}
		switch {
		case !natclient.NeedsFirewall(n.Network) || n.Status.Deleting:
		case natclient.IsApplied(n):
			background(func() { _ = wait() }) // fails only if ctx ends
		default:
			if err := wait(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Watch reconciles external changes until ctx ends.
func (r *Controller) Watch(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()

	for _, d := range r.drivers {
		all.Go(func() { d.RunLinkGC(ctx, func(err error) { r.log.Error("cannot delete link", "error", err) }) })
	}

	changes := r.changes
	all.Go(func() { r.watchLinks(ctx, changes) })
	tick := time.NewTicker(resyncInterval)
	defer tick.Stop()

	for last := ""; ; {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-changes.wake:
			time.Sleep(debounce)
			err = r.reconcileChanges(ctx, changes.drain())
		case <-tick.C:
			r.push(ctx)
			err = r.resync(ctx)
		}
		last = r.logOnce(last, err)
	}
}

// logOnce logs an error unless it equals the last one.
func (r *Controller) logOnce(last string, err error) string {
	if err == nil {
		return ""
	}
	if err.Error() != last {
		r.log.Error("network reconcile failed", "error", err)
	}
	return err.Error()
}

// push sends all networks to natagent again, in case it has lost them.
func (r *Controller) push(ctx context.Context) {
	for _, n := range r.store.Networks() {
		if !natclient.NeedsFirewall(n.Network) || n.Status.Deleting {
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if err := r.sendIfStored(ctx, n.ID, r.resend); err != nil {
			r.log.Debug("natagent does not respond", "network", n.Name, "error", err)
		}
	}
}

// sendIfStored sends a network to natagent unless it is being deleted. If it is deleted meanwhile,
// its rules are deleted again, as natagent may have received the deletion first.
func (r *Controller) sendIfStored(ctx context.Context, networkID string,
	send func(context.Context, store.Network) error) error {
	n, ok := r.store.Network(networkID)
	if !ok || n.Status.Deleting {
		return nil
	}

	err := send(ctx, n)
	if now, ok := r.store.Network(networkID); ok && !now.Status.Deleting {
		return err
	}

	return r.natClient.Delete(ctx, n.Network)
}

func (r *Controller) syncStored(ctx context.Context, n store.Network) error {
	return r.Sync(ctx, n.Network)
}

// resend sends a network again. It is applied to the host only if natagent had not acknowledged it.
func (r *Controller) resend(ctx context.Context, n store.Network) error {
	if !natclient.IsApplied(n) {
		return r.Sync(ctx, n.Network)
	}
	return r.natClient.Reapply(ctx, n.Network)
}
