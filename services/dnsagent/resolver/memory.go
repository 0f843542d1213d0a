package resolver

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// avoidTime is for how long a server that did not answer is asked after the others.
const avoidTime = 10 * time.Second

// memory knows which servers did not answer lately, so that not every question waits for them. The zero value knows none.
type memory struct {
	mu     sync.Mutex
	failed map[netip.AddrPort]time.Time
}

// order puts servers that did not answer lately behind the others, and leaves out those beyond the number that is asked at all.
func (m *memory) order(routes []Route, now time.Time) []Route {
	routes = slices.Clone(routes[:min(len(routes), maxServers)])
	m.mu.Lock()
	defer m.mu.Unlock()
	avoided := func(r Route) int {
		if at, ok := m.failed[r.Server]; ok && now.Sub(at) < avoidTime {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(routes, func(a, b Route) int { return avoided(a) - avoided(b) })
	return routes
}

// note remembers whether a server answered. What is too old to count is forgotten.
func (m *memory) note(server netip.AddrPort, answered bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if answered {
		delete(m.failed, server)
		return
	}
	for s, at := range m.failed {
		if now.Sub(at) >= avoidTime {
			delete(m.failed, s)
		}
	}
	if m.failed == nil {
		m.failed = map[netip.AddrPort]time.Time{}
	}
	m.failed[server] = now
}
