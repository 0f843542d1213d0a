package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// newPublications returns the table
//
//	publications: owner -> Publication
func newPublications() *state.Table[publication.Publication] {
	return state.NewTable("publications", func(p *publication.Publication) string { return p.Owner })
}

// Publication returns the publication of an owner. Callers must not modify the result.
func (s *Store) Publication(owner string) (*publication.Publication, bool) {
	return s.publications.Get(s.db.View(), owner)
}

// Publications returns all publications, sorted by owner. Callers must not modify the result.
func (s *Store) Publications() []*publication.Publication { return collect(s.publications, s.db) }

// FirewallBindings returns the bindings of p as the firewall has them.
func (s *Store) FirewallBindings(p *publication.Publication) []port.Binding {
	if s.DirectRouting {
		return p.WithDirect()
	}
	return p.Bindings
}

// PutPublication stores a publication.
func (s *Store) PutPublication(p *publication.Publication) error {
	return s.db.Update(func(tx *state.Tx) error { return s.publications.Put(tx, p) })
}

// DeletePublication deletes the publication of an owner.
func (s *Store) DeletePublication(owner string) error {
	return s.db.Update(func(tx *state.Tx) error {
		_, err := s.publications.Delete(tx, owner)
		return err
	})
}
