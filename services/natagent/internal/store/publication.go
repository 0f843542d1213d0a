package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// newPublications describes the table
//
//	publications: owner -> Publication
func newPublications() *state.Table[publication.Publication] {
	return state.NewTable("publications", func(p *publication.Publication) string { return p.Owner })
}

// Publication is what an owner has published. It must not be changed.
func (s *Store) Publication(owner string) (*publication.Publication, bool) {
	return s.publications.Get(s.db.View(), owner)
}

// Publications are all of them, by owner. They must not be changed.
func (s *Store) Publications() []*publication.Publication { return collect(s.publications, s.db) }

// FirewallBindings is what the firewall has of a publication.
func (s *Store) FirewallBindings(p *publication.Publication) []publication.Binding {
	if s.DirectRouting {
		return p.WithDirect()
	}
	return p.Bindings
}

// PutPublication stores what an owner has published.
func (s *Store) PutPublication(p *publication.Publication) error {
	return s.db.Update(func(tx *state.Tx) error { return s.publications.Put(tx, p) })
}

// DeletePublication forgets it.
func (s *Store) DeletePublication(owner string) error {
	return s.db.Update(func(tx *state.Tx) error {
		_, err := s.publications.Delete(tx, owner)
		return err
	})
}
