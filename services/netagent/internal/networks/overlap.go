package networks

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// debounce joins bursts of route changes.
	debounce = 100 * time.Millisecond
	// retryDelay is the delay before a failed route watch is restarted.
	retryDelay = time.Second
)

// WatchOverlaps emits an event and logs a warning for each host route that overlaps a network. It
// includes routes that exist already. It returns when ctx is canceled.
func (m *Manager) WatchOverlaps(ctx context.Context) {
	changed := notify.NewSignal()
	var watching sync.WaitGroup
	defer watching.Wait()

	watching.Go(func() { m.watchRoutes(ctx, changed) })

	for known := map[string]bool{}; ; {
		known = m.reportOverlaps(known)
		select {
		case <-ctx.Done():
			return
		case <-changed:
			time.Sleep(debounce)
		}
	}
}

// reportOverlaps reports the warnings that are not in known, and returns all current ones.
func (m *Manager) reportOverlaps(known map[string]bool) map[string]bool {
	now := map[string]bool{}
	warnings := m.overlapped()
	for _, n := range m.List() {
		for _, w := range warnings(n) {
			if now[w] = true; !known[w] {
				m.log.Warn("network overlaps a host route", "network", n.Name, "warning", w)
				m.emit(n, "overlap", "warning", w)
			}
		}
	}

	return now
}

// watchRoutes notifies changed after each change of the host's routes.
func (m *Manager) watchRoutes(ctx context.Context, changed notify.Signal) {
	for ctx.Err() == nil {
		err := m.host.WatchRoutes(ctx, changed.Notify)
		if err != nil {
			m.log.Warn("route watch failed, retrying", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryDelay):
			}
		}
	}
}

// emit emits a network event. more holds additional attributes as alternating names and values.
func (m *Manager) emit(n network.Network, action string, more ...string) {
	attributes := map[string]string{"name": n.Name, "type": n.Driver}
	for i := 0; i+1 < len(more); i += 2 {
		attributes[more[i]] = more[i+1]
	}
	m.events.Emit(events.Network, action, n.ID, attributes)
}
