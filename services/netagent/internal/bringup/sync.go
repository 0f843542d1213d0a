package bringup

import (
	"context"

	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Sync applies a stored network: its firewall rules, then the host. It returns after natagent has
// acknowledged the rules, unless the network needs none.
func (r *Controller) Sync(ctx context.Context, n network.Network) error {
	if natclient.NeedsFirewall(n) {
		if err := r.natClient.Apply(ctx, n); err != nil {
			return err
		}
	}
	return r.applyToHost(n.ID)
}

// Require calls Sync unless natagent has acknowledged the network in its current state.
func (r *Controller) Require(ctx context.Context, n store.Network) error {
	if natclient.IsApplied(n) {
		return nil
	}
	return r.Sync(ctx, n.Network)
}

// Remove removes a network in deletion from the host, and its firewall rules last.
func (r *Controller) Remove(ctx context.Context, n network.Network) error {
	if err := r.deleteFromHost(n); err != nil || !natclient.NeedsFirewall(n) {
		return err
	}
	return r.natClient.Delete(ctx, n)
}

// applyToHost configures a network on the host after natagent has acknowledged it, and enables its
// loopback access.
func (r *Controller) applyToHost(networkID string) error {
	n, ok := r.store.Network(networkID)
	if _, known := r.drivers[n.Driver]; !ok || !known {
		return nil
	}
	if err := r.network(n, ""); err != nil || n.IsPredefined() {
		return err
	}
	return r.hostnet.EnableForwardingOf(n)
}
