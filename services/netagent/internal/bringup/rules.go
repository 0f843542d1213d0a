package bringup

import (
	"context"

	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
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
