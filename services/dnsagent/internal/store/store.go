// Package store holds the registrations of dnsagent in one bbolt file. It is the source of truth
// for name files and resolvers.
package store

import (
	"path/filepath"

	"github.com/fairlead/fairlead/agent/state"
)

// Store holds the table of dnsagent.
type Store struct {
	db            *state.DB
	registrations *state.Table[Registration]
}

// OpenAs opens dns.db in a directory.
func OpenAs(dir string, how state.Config) (*Store, error) {
	s := &Store{registrations: newRegistrations()}
	var err error
	if s.db, err = how.Open(filepath.Join(dir, "dns.db"), s.registrations); err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
