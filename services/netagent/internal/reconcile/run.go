package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
)

const (
	resyncInterval = 30 * time.Second
	// debounce joins bursts of link events.
	debounce = 50 * time.Millisecond
	// watchRetry is the delay before a failed netlink watch is restarted.
	watchRetry = time.Second
)

// Repair reconciles everything, as each resync does.
func (r *Reconciler) Repair(ctx context.Context) error { return r.reconcileAll(ctx) }

// ApplyNetwork configures a network on the host after natagent has acknowledged it, and enables its
// loopback access.
func (r *Reconciler) ApplyNetwork(networkID string) error {
	n, ok := r.store.Network(networkID)
	driver, known := r.drivers[n.Driver]
	if !ok || !known {
		return nil
	}
	if err := r.network(driver, n, false); err != nil || n.IsPredefined() {
		return err
	}
	return r.forwardNew(n)
}

// WaitForNatagent waits until natagent has acknowledged each network once. Networks that were
// acknowledged before are sent in the background.
func (r *Reconciler) WaitForNatagent(ctx context.Context, background func(func())) error {
	for _, n := range r.store.Networks() {
		switch {
		case !natclient.NeedsFirewall(n.Network) || n.Status.Deleting:
		case natclient.IsApplied(n):
			background(func() { _ = r.guard.ApplyWithRetry(ctx, n.Network) }) // fails only if ctx ends
		default:
			if err := r.guard.ApplyWithRetry(ctx, n.Network); err != nil {
				return err
			}
		}
	}
	return nil
}

// Watch reconciles external changes until ctx ends.
func (r *Reconciler) Watch(ctx context.Context) {
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
			err = r.reconcileAll(ctx)
		}
		last = r.logOnce(last, err)
	}
}

// logOnce logs an error unless it equals the last one.
func (r *Reconciler) logOnce(last string, err error) string {
	if err == nil {
		return ""
	}
	if err.Error() != last {
		r.log.Error("network reconcile failed", "error", err)
	}
	return err.Error()
}

// push sends all networks to natagent again, in case it has lost them.
func (r *Reconciler) push(ctx context.Context) {
	for _, n := range r.store.Networks() {
		if !natclient.NeedsFirewall(n.Network) || n.Status.Deleting {
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if err := r.guard.Reapply(ctx, n); err != nil {
			r.log.Debug("natagent does not respond", "network", n.Name, "error", err)
		}
	}
}
