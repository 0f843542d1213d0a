package sandbox

import (
	"slices"
	"strconv"
	"sync"
)

// networkLocks are passed by those who plug something into networks as they are, and closed by who changes a network. Networks share them by the
// first digits of their ids.
type networkLocks [256]sync.RWMutex

// RLock waits until none of some networks is being changed. None is until leave is called.
func (g *networkLocks) RLock(networkIDs []string) (leave func()) {
	var passed []int
	for _, id := range networkIDs {
		passed = append(passed, gateOf(id))
	}
	slices.Sort(passed) // all in the same order, as else two could wait for each other
	passed = slices.Compact(passed)
	for _, i := range passed {
		g[i].RLock()
	}
	return func() {
		for _, i := range passed {
			g[i].RUnlock()
		}
	}
}

// Lock waits until nobody is in a network's gate. Nobody comes in until reopen is called.
func (g *networkLocks) Lock(networkID string) (reopen func()) {
	gate := &g[gateOf(networkID)]
	gate.Lock()
	return gate.Unlock
}

func gateOf(networkID string) int {
	i, err := strconv.ParseUint(networkID[:min(2, len(networkID))], 16, 8)
	if err != nil {
		return 0 // no id, as in tests
	}
	return int(i)
}
