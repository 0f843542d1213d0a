package resolver

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// failurePenalty is for how long a server that did not answer is asked after the others.
const failurePenalty = 10 * time.Second

// failureTracker knows which servers did not answer lately, so that not every question waits for them. The zero value knows none.
type failureTracker struct {
	mu     sync.Mutex
	failed map[netip.AddrPort]time.Time
}

// order puts servers that did not answer lately behind the others, and leaves out those beyond the number that is asked at all.
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

// record remembers whether a server answered. What is too old to count is forgotten.
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
