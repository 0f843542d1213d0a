// Package store holds the registrations of dnsagent, and the records and forwards of administrators,
// in one bbolt file. It is the source of truth for name files and resolvers.
package store

import (
	"path/filepath"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/dnsrecord"
)

// Store holds the tables of dnsagent.
type Store struct {
	db            *state.DB
	registrations *state.Table[Registration]
	records       *state.Table[dnsrecord.Record]
	forwards      *state.Table[dnsrecord.Forward]
}

// OpenAs opens dns.db in a directory.
func OpenAs(dir string, how state.Config) (*Store, error) {
	s := &Store{registrations: newRegistrations(), records: newRecords(), forwards: newForwards()}
	var err error
	if s.db, err = how.Open(filepath.Join(dir, "dns.db"), s.registrations, s.records,
		s.forwards); err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
