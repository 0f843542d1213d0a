package sandbox

import (
	"slices"
	"strconv"
	"sync"
)

// networkLocks are striped locks of networks: read to attach an endpoint, write to change a
// network. The first digits of the ID select the lock.
type networkLocks [256]sync.RWMutex

// RLock takes the read locks of the networks, in index order, and returns a function that releases
// them.
func (g *networkLocks) RLock(networkIDs []string) (unlock func()) {
	var indexes []int
	for _, id := range networkIDs {
		indexes = append(indexes, indexOf(id))
	}

	slices.Sort(indexes) // one order for all callers prevents deadlocks
	indexes = slices.Compact(indexes)
	for _, i := range indexes {
		g[i].RLock()
	}

	return func() {
		for _, i := range indexes {
			g[i].RUnlock()
		}
	}
}

// Lock takes the write lock of a network and returns a function that releases it.
func (g *networkLocks) Lock(networkID string) (unlock func()) {
	l := &g[indexOf(networkID)]
	l.Lock()
	return l.Unlock
}

func indexOf(networkID string) int {
	i, err := strconv.ParseUint(networkID[:min(2, len(networkID))], 16, 8)
	if err != nil {
		return 0 // not an ID, in tests only
	}
	return int(i)
}
