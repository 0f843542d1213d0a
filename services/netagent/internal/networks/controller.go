package networks

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/agent/control"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// finishDelay is the delay before the controller completes what a request has begun, and before it
// tries again.
const finishDelay = 5 * time.Second

// Finisher completes what a request or a crash has left: it deletes networks in deletion, and removes
// former pools that are not used any more.
type Finisher struct{ *Manager }

// Run finishes networks until ctx is canceled. Its controller has the IDs of networks as keys. It
// watches the table of networks, and that of sandboxes for containers that leave a former pool.
func (m Finisher) Run(ctx context.Context) {
	c := control.New(m.finish, control.Config[string]{Delay: finishDelay, MinBackoff: finishDelay,
		MaxBackoff: finishDelay, OnError: func(networkID string, err error, _ time.Duration) {
			m.log.Debug("network not finished, retrying", "network", networkID, "error", err)
		}})
	defer m.store.WatchNetworks(func(_, after *store.Network) bool { return unfinished(after) }, c.Add)()
	defer m.store.WatchSandboxes(m.leftNetworks, c.Add)()

	for _, n := range m.store.Networks() {
		if unfinished(&n) {
			c.AddAfter(0, n.ID)
		}
	}
	c.Run(ctx)
}

// unfinished reports whether a network is being deleted or has former pools. n can be nil.
func unfinished(n *store.Network) bool {
	return n != nil && (n.Status.Deleting || len(n.Status.Former) > 0)
}

// leftNetworks returns the networks with former pools on which a sandbox had an endpoint before its
// change.
func (m Finisher) leftNetworks(before, _ *endpoint.Sandbox) (ids []string) {
	if before == nil {
		return nil
	}
	for _, e := range before.Endpoints {
		if n, ok := m.store.Network(e.NetworkID); ok && unfinished(&n) {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// finish completes the deletion of a network, or removes its former pools that are not used.
func (m Finisher) finish(ctx context.Context, networkID string) (again time.Duration, err error) {
	n, ok := m.store.Network(networkID)
	switch {
	case !ok:
		return 0, nil
	case n.Status.Deleting:
		return 0, m.tearDown(ctx, n.Network)
	}

	defer m.locks.Edit()()
	return 0, m.removeFormerPools(ctx, networkID)
}
