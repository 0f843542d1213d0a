package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

// Registration is a container's request, and what followed from it when it came.
//
//	registrations: owner -> Registration
type Registration struct {
	registration.Registration
	StartName string // the name the container was started with, which a host's change of name must not change
}

func newRegistrations() *state.Table[Registration] {
	return state.NewTable("registrations", func(r *Registration) string { return r.Owner })
}

// Registration finds what an owner asked for. It must not be changed.
func (s *Store) Registration(owner string) (*Registration, bool) {
	return s.registrations.Get(s.db.View(), owner)
}

// Registrations gives all of them, by owner. They must not be changed.
func (s *Store) Registrations() []*Registration {
	var all []*Registration
	for r := range s.registrations.All(s.db.View()) {
		all = append(all, r)
	}
	return all
}

// Put stores a registration. It must not be changed afterwards.
func (s *Store) Put(r *Registration) error {
	return s.db.Update(func(tx *state.Tx) error { return s.registrations.Put(tx, r) })
}

// Delete forgets owners. Those that are not known are no error.
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
