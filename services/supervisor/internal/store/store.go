// Package store persists the supervisor's containers, images, volumes and policies in one bbolt file. It contains no
// policy. Packages run and image use it.
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
func OpenAs(dir string, cfg state.Config) (*Store, error) {
	cfg.Version, cfg.Upgrade = version, upgrade
	db, err := cfg.Open(filepath.Join(dir, "supervisor.db"), containers, images, volumes, policies)
	if err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
