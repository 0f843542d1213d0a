package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// WatchNetworks calls add with the IDs of changed networks that fits selects, until stop is called.
// before is nil for a new network, after is nil for a deleted one. Both functions must be fast, as
// each commit waits for them.
func (s *Store) WatchNetworks(fits func(before, after *Network) bool, add func(ids ...string)) (stop func()) {
	return state.Watch(s.db, networks, func(before, after *Network) []string {
		if !fits(before, after) {
			return nil
		}
		if after == nil {
			return []string{before.ID}
		}
		return []string{after.ID}
	}, add)
}

// WatchSandboxes calls add with the keys that keysOf returns for changed sandboxes, until stop is
// called. It is like WatchNetworks.
func (s *Store) WatchSandboxes(keysOf func(before, after *endpoint.Sandbox) []string, add func(keys ...string)) (
	stop func()) {
	return state.Watch(s.db, sandboxes, keysOf, add)
}
