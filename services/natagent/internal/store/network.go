package store

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// newNetworks describes the table
//
//	networks: id -> Network
func newNetworks() *state.Table[firewall.Network] {
	return state.NewTable("networks", func(n *firewall.Network) string { return n.ID })
}

// Network is a guarded network. It must not be changed.
func (s *Store) Network(id string) (*firewall.Network, bool) {
	return s.networks.Get(s.db.View(), id)
}

// Networks are all of them, by id. They must not be changed.
func (s *Store) Networks() []*firewall.Network { return collect(s.networks, s.db) }

// IsRouted tells whether an address is in a subnet that is not translated.
func (s *Store) IsRouted(addr netip.Addr) bool {
	for n := range s.networks.All(s.db.View()) {
		if slices.ContainsFunc(n.Routed, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return true
		}
	}
	return false
}

// PutNetwork stores a network.
func (s *Store) PutNetwork(n *firewall.Network) error {
	return s.db.Update(func(tx *state.Tx) error { return s.networks.Put(tx, n) })
}

// DeleteNetwork forgets it.
func (s *Store) DeleteNetwork(id string) error {
	return s.db.Update(func(tx *state.Tx) error {
		_, err := s.networks.Delete(tx, id)
		return err
	})
}
