package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

// Watch calls changed with the owners of changed registrations until stop is called. changed must be
// fast, because each commit waits for it.
func (s *Store) Watch(changed func(owners ...string)) (stop func()) {
	return state.Watch(s.db, s.registrations, func(before, after *Registration) []string {
		if after == nil {
			return []string{before.Owner}
		}
		return []string{after.Owner}
	}, changed)
}

// Registered returns the request of an owner. Callers must not modify it.
func (s *Store) Registered(owner string) (registration.Registration, bool) {
	r, ok := s.Registration(owner)
	if !ok {
		return registration.Registration{}, false
	}
	return r.Registration, true
}

// Owners returns all owners, sorted.
func (s *Store) Owners() []string {
	var all []string
	for _, r := range s.Registrations() {
		all = append(all, r.Owner)
	}
	return all
}
