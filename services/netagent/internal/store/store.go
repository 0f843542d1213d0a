// Package store is what netagent must not forget, in one durable file, one Go file a table. An address is leased exactly as
// long as a sandbox that has it, or a reservation for it, is in here; there is no other list of leases to disagree with.
package store

import (
	"path/filepath"

	"github.com/fairlead/fairlead/agent/state"
)

// Store holds netagent's tables.
type Store struct{ db *state.DB }

// Open opens net.db in a directory with the zero Config.
func Open(dir string) (*Store, error) { return OpenAs(dir, state.Config{}) }

// OpenAs opens net.db in a directory.
func OpenAs(dir string, how state.Config) (*Store, error) {
	db, err := how.Open(filepath.Join(dir, "net.db"), networks, sandboxes, reservations, leases, sysctls)
	if err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
