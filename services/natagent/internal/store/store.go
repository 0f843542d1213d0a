// Package store is what natagent must not forget: publications and guarded networks, in one durable file.
package store

import (
	"path/filepath"
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Store holds natagent's tables.
type Store struct {
	// DirectRouting opens published ports at the containers' own addresses, too. It must not change once anything is asked.
	DirectRouting bool

	db           *state.DB
	publications *state.Table[publication.Publication]
	networks     *state.Table[firewall.Network]
}

// Open opens nat.db in a directory with the zero Config.
func Open(dir string) (*Store, error) { return OpenAs(dir, state.Config{}) }

// OpenAs opens nat.db in a directory.
func OpenAs(dir string, how state.Config) (*Store, error) {
	s := &Store{publications: newPublications(), networks: newNetworks()}
	db, err := how.Open(filepath.Join(dir, "nat.db"), s.publications, s.networks)
	if err != nil {
		return nil, err
	}
	s.db = db
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// State is all that the firewall shall have, as it is stored now.
func (s *Store) State() firewall.State {
	view := s.db.View()
	var st firewall.State
	for n := range s.networks.All(view) {
		st.Networks = append(st.Networks, *n)
	}
	for p := range s.publications.All(view) {
		st.Bindings = append(st.Bindings, s.FirewallBindings(p)...)
	}
	return st
}

// collect makes a list of what a table gives.
func collect[T any](t *state.Table[T], db *state.DB) []*T { return slices.Collect(t.All(db.View())) }
