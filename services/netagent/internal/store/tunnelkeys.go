package store

import (
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

// tunnelKeys holds the keys of the host's encrypted tunnels by fleet. There is at most one record.
var tunnelKeys = state.NewTable("tunnelkeys", func(k *TunnelKeys) string { return k.Fleet })

// TunnelKeys holds the keys of the host's encrypted tunnels.
type TunnelKeys struct {
	Fleet string // the ID of the fleet
	Keys  []tunnelkey.Own
}

// TunnelKeys returns the keys. The result is empty if there are none.
func (s *Store) TunnelKeys() TunnelKeys {
	for k := range tunnelKeys.All(s.db.View()) {
		return *k
	}
	return TunnelKeys{}
}

// PutTunnelKeys replaces the keys. Without keys nothing is stored.
func (s *Store) PutTunnelKeys(k TunnelKeys) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, old := range slices.Collect(tunnelKeys.All(tx)) {
			if old.Fleet != k.Fleet {
				if _, err := tunnelKeys.Delete(tx, old.Fleet); err != nil {
					return err
				}
			}
		}
		if len(k.Keys) == 0 {
			_, err := tunnelKeys.Delete(tx, k.Fleet)
			return err
		}
		return tunnelKeys.Put(tx, &k)
	})
}
