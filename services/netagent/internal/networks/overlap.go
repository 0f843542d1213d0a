package networks

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// settle is how long to wait after a route has come or gone, as they come in swarms.
	settle = 100 * time.Millisecond
	// listenAgain is how long to wait before listening to the kernel again when that has failed.
	listenAgain = time.Second
)

// WatchOverlaps tells of each route of the host that overlaps a network when it comes, as an event and in the log, until ctx ends. Those
// that are there at the start are told of, too.
func (m *Manager) WatchOverlaps(ctx context.Context) {
	changed := make(chan struct{}, 1)
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() { m.listen(ctx, changed) })
	for known := map[string]bool{}; ; {
		known = m.reportOverlaps(known)
		select {
		case <-ctx.Done():
			return
		case <-changed:
			time.Sleep(settle)
		}
	}
}

// reportOverlaps tells of what is not known, and answers what is from now on.
func (m *Manager) reportOverlaps(known map[string]bool) map[string]bool {
	now := map[string]bool{}
	warnings := m.overlapped()
	for _, n := range m.List() {
		for _, w := range warnings(n) {
			if now[w] = true; !known[w] {
				m.Log.Warn("a network is overlapped", "network", n.Name, "warning", w)
				m.emit(n, "overlap", "warning", w)
			}
		}
	}
	return now
}

// listen passes on that routes have come or gone.
func (m *Manager) listen(ctx context.Context, changed chan<- struct{}) {
	for ctx.Err() == nil {
		err := m.Host.WatchRoutes(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
		if err != nil {
			m.Log.Warn("cannot hear of the host's routes", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(listenAgain):
			}
		}
	}
}

// emit tells of something that has happened to a network; more are further attributes, names and values by turns.
func (m *Manager) emit(n network.Network, action string, more ...string) {
	attributes := map[string]string{"name": n.Name, "type": n.Driver}
	for i := 0; i+1 < len(more); i += 2 {
		attributes[more[i]] = more[i+1]
	}
	m.Events.Emit(events.Network, action, n.ID, attributes)
}
