package store

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// newNetworks returns the table
//
//	networks: id -> Network
func newNetworks() *state.Table[firewall.Network] {
	return state.NewTable("networks", func(n *firewall.Network) string { return n.ID })
}

// Network returns a network. Callers must not modify the result.
func (s *Store) Network(id string) (*firewall.Network, bool) {
	return s.networks.Get(s.db.View(), id)
}

// Networks returns all networks, sorted by ID. Callers must not modify the result.
func (s *Store) Networks() []*firewall.Network { return collect(s.networks, s.db) }

// IsRouted reports whether addr belongs to a routed subnet.
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

// DeleteNetwork deletes a network.
func (s *Store) DeleteNetwork(id string) error {
	return s.db.Update(func(tx *state.Tx) error {
		_, err := s.networks.Delete(tx, id)
		return err
	})
}
