// Package store is what the supervisor must not forget: containers and images, in one durable file.
package store

import (
	"path/filepath"

	"github.com/fairlead/fairlead/agent/state"
)

// Store holds the supervisor's tables.
type Store struct{ db *state.DB }

// Open opens supervisor.db in a directory with the zero Config.
func Open(dir string) (*Store, error) { return OpenAs(dir, state.Config{}) }

// OpenAs opens supervisor.db in a directory.
func OpenAs(dir string, how state.Config) (*Store, error) {
	db, err := how.Open(filepath.Join(dir, "supervisor.db"), containers, images)
	if err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
