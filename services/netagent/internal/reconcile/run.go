package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
)

const (
	slowTick = 30 * time.Second
	// settle is how long to wait after a change, as changes come in swarms.
	settle = 50 * time.Millisecond
	// listenAgain is how long to wait before listening to the kernel again when that has failed.
	listenAgain = time.Second
)

// Repair makes the host as the store says, as each tick does.
func (r *Reconciler) Repair(ctx context.Context) error { return r.again(ctx) }

// ApplyNetwork puts a network on the host that natagent has just acknowledged, and lets the host's loopback through to it.
func (r *Reconciler) ApplyNetwork(networkID string) error {
	n, ok := r.store.Network(networkID)
	driver, known := r.drivers[n.Driver]
	if !ok || !known {
		return nil
	}
	if err := r.network(driver, n, false); err != nil || n.Predefined {
		return err
	}
	return r.forwardNew(n)
}

// WaitForNatagent waits until natagent has acknowledged each network at least once. Those that it has acknowledged before are pushed
// without waiting.
func (r *Reconciler) WaitForNatagent(ctx context.Context, background func(func())) error {
	for _, n := range r.store.Networks() {
		switch {
		case !natclient.NeedsFirewall(n.Network) || n.Deleting:
		case natclient.IsApplied(n):
			background(func() { _ = r.guard.ApplyWithRetry(ctx, n.Network) }) // it only ends otherwise with ctx
		default:
			if err := r.guard.ApplyWithRetry(ctx, n.Network); err != nil {
				return err
			}
		}
	}
	return nil
}

// Watch puts right what others change, until ctx ends.
func (r *Reconciler) Watch(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, d := range r.drivers {
		all.Go(func() { d.Bury(ctx, func(err error) { r.log.Error("leftover", "error", err) }) })
	}
	heard := r.heard
	all.Go(func() { r.watchLinks(ctx, heard) })
	tick := time.NewTicker(slowTick)
	defer tick.Stop()
	for last := ""; ; {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-heard.wake:
			time.Sleep(settle)
			err = r.reconcileChanges(ctx, heard.drain())
		case <-tick.C:
			r.push(ctx)
			err = r.again(ctx)
		}
		last = r.logOnce(last, err)
	}
}

// logOnce logs an error that differs from the last one.
func (r *Reconciler) logOnce(last string, err error) string {
	if err == nil {
		return ""
	}
	if err.Error() != last {
		r.log.Error("network cannot be put right", "error", err)
	}
	return err.Error()
}

// push tells natagent again what it should know, in case that it has forgotten.
func (r *Reconciler) push(ctx context.Context) {
	for _, n := range r.store.Networks() {
		if !natclient.NeedsFirewall(n.Network) || n.Deleting {
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if err := r.guard.Reapply(ctx, n); err != nil {
			r.log.Debug("natagent does not answer", "network", n.Name, "error", err)
		}
	}
}
