package resolver

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// failurePenalty is the time for which an unresponsive server is tried last.
const failurePenalty = 10 * time.Second

// failureTracker records servers that did not respond recently, so that not every query waits for
// them. The zero value is empty.
type failureTracker struct {
	mu     sync.Mutex
	failed map[netip.AddrPort]time.Time
}

// order returns the first maxServers servers, with those that did not respond recently last.
func (m *failureTracker) order(routes []Upstream, now time.Time) []Upstream {
	routes = slices.Clone(routes[:min(len(routes), maxServers)])
	m.mu.Lock()
	defer m.mu.Unlock()
	avoided := func(r Upstream) int {
		if at, ok := m.failed[r.Server]; ok && now.Sub(at) < failurePenalty {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(routes, func(a, b Upstream) int { return avoided(a) - avoided(b) })
	return routes
}

// record stores whether a server responded, and drops expired failures.
func (m *failureTracker) record(server netip.AddrPort, answered bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()

	if answered {
		delete(m.failed, server)
		return
	}

	for s, at := range m.failed {
		if now.Sub(at) >= failurePenalty {
			delete(m.failed, s)
		}
	}

	if m.failed == nil {
		m.failed = map[netip.AddrPort]time.Time{}
	}

	m.failed[server] = now
}
