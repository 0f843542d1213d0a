package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

// Registration is the stored request of a container with the values derived from it.
//
//	registrations: owner -> Registration
type Registration struct {
	registration.Registration
	StartName string // hostname at the start of the container, independent of later changes of the host name
}

func newRegistrations() *state.Table[Registration] {
	return state.NewTable("registrations", func(r *Registration) string { return r.Owner })
}

// Registration returns the registration of an owner. Callers must not modify the result.
func (s *Store) Registration(owner string) (*Registration, bool) {
	return s.registrations.Get(s.db.View(), owner)
}

// Registrations returns all registrations, sorted by owner. Callers must not modify the result.
func (s *Store) Registrations() []*Registration {
	var all []*Registration
	for r := range s.registrations.All(s.db.View()) {
		all = append(all, r)
	}
	return all
}

// Put stores a registration, which must not be modified afterwards.
func (s *Store) Put(r *Registration) error {
	return s.db.Update(func(tx *state.Tx) error { return s.registrations.Put(tx, r) })
}

// Delete deletes the registrations of owners. It does nothing for owners without one.
func (s *Store) Delete(owners ...string) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, o := range owners {
			if _, err := s.registrations.Delete(tx, o); err != nil {
				return err
			}
		}
		return nil
	})
}
