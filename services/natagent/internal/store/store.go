// Package store holds natagent's state, publications, networks and policies, in one database file.
package store

import (
	"path/filepath"
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Store holds natagent's tables.
type Store struct {
	// DirectRouting adds direct access to published ports. It must not change after first use.
	DirectRouting bool

	db           *state.DB
	publications *state.Table[publication.Publication]
	networks     *state.Table[firewall.Network]
	tunnels      *state.Table[firewall.Tunnel]
	policies     *state.Table[plan.Container]
	peers        *state.Table[plan.Peer]
}

// Open opens nat.db in a directory with the zero Config.
func Open(dir string) (*Store, error) { return OpenAs(dir, state.Config{}) }

// OpenAs opens nat.db in a directory.
func OpenAs(dir string, how state.Config) (*Store, error) {
	how.Version, how.Upgrade = version, upgrade
	s := &Store{publications: newPublications(), networks: newNetworks(), tunnels: newTunnels(),
		policies: newPolicies(), peers: newPeers()}
	db, err := how.Open(filepath.Join(dir, "nat.db"), s.publications, s.networks, s.tunnels, s.policies, s.peers)
	if err != nil {
		return nil, err
	}
	s.db = db
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// State returns the desired state of the firewall.
func (s *Store) State() firewall.State {
	view := s.db.View()
	var st firewall.State
	for n := range s.networks.All(view) {
		st.Networks = append(st.Networks, *n)
	}
	for t := range s.tunnels.All(view) {
		st.Tunnel = t
	}
	for p := range s.publications.All(view) {
		st.Bindings = append(st.Bindings, s.FirewallBindings(p)...)
	}
	return st
}

// collect returns the records of a table.
func collect[T any](t *state.Table[T], db *state.DB) []*T { return slices.Collect(t.All(db.View())) }
