package mirror

import (
	"context"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// WatchOverlay sends the full state and then all changes until ctx ends or send fails.
func (m *Mirror) WatchOverlay(ctx context.Context, send func(*fleetv1.WatchOverlayResponse) error) error {
	return watch(ctx, m, send, func() []*fleetv1.WatchOverlayResponse {
		all, _ := m.view.Full(chunkSize)
		return all
	}, func(d view.Delta) *fleetv1.WatchOverlayResponse { return d.Overlay })
}

// WatchEndpoints sends the endpoints of other hosts and then all changes until ctx ends or send
// fails.
func (m *Mirror) WatchEndpoints(ctx context.Context, send func(*fleetv1.WatchEndpointsResponse) error) error {
	return watch(ctx, m, send, func() []*fleetv1.WatchEndpointsResponse {
		_, all := m.view.Full(chunkSize)
		return all
	}, func(d view.Delta) *fleetv1.WatchEndpointsResponse { return d.Endpoints })
}

// watch sends a full state and then the changes. A client that is too slow for the kept changes gets
// another full state.
func watch[T any](ctx context.Context, m *Mirror, send func(*T) error, full func() []*T,
	part func(view.Delta) *T) error {
	var next uint64
	for fresh := false; ; {
		m.mu.Lock()
		var pending []*T
		if !fresh || next < m.first {
			pending, fresh = full(), true
		} else {
			for _, d := range m.deltas[next-m.first:] {
				if t := part(d); t != nil {
					pending = append(pending, t)
				}
			}
		}
		next = m.first + uint64(len(m.deltas))
		changed := m.changed
		m.mu.Unlock()

		for _, t := range pending {
			if err := send(t); err != nil {
				return err
			}
		}
		if len(pending) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}
