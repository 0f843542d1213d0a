package store

import (
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// tunnelKey is the key of the only tunnel.
const tunnelKey = "tunnel"

// newTunnels returns the table
//
//	tunnels: tunnel -> Tunnel
func newTunnels() *state.Table[firewall.Tunnel] {
	return state.NewTable("tunnels", func(*firewall.Tunnel) string { return tunnelKey })
}

// Tunnel returns the tunnel to the other hosts of the fleet; nil: none. Callers must not modify the
// result.
func (s *Store) Tunnel() *firewall.Tunnel {
	t, ok := s.tunnels.Get(s.db.View(), tunnelKey)
	if !ok {
		return nil
	}
	return t
}

// PutTunnel stores the tunnel; nil deletes it.
func (s *Store) PutTunnel(t *firewall.Tunnel) error {
	return s.db.Update(func(tx *state.Tx) error {
		if t != nil {
			return s.tunnels.Put(tx, t)
		}
		_, err := s.tunnels.Delete(tx, tunnelKey)
		return err
	})
}
