// Package store holds netagent's durable state in one file, net.db, with one Go file per table.
// An address is allocated while a stored sandbox or reservation contains it. There is no other
// record of allocations, so none can be inconsistent.
package store

import (
	"path/filepath"

	"github.com/fairlead/fairlead/agent/state"
)

// Store holds netagent's tables. It is safe for concurrent use.
type Store struct{ db *state.DB }

// Open opens net.db in a directory with the zero Config.
func Open(dir string) (*Store, error) { return OpenAs(dir, state.Config{}) }

// OpenAs opens net.db in a directory with the given Config.
func OpenAs(dir string, cfg state.Config) (*Store, error) {
	cfg.Version, cfg.Upgrade = recordVersion, upgrade
	db, err := cfg.Open(filepath.Join(dir, "net.db"), networks, sandboxes, reservations, leases, sysctls,
		tunnelKeys)
	if err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
