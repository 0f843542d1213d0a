package networks

import (
	"context"
	"errors"
	"reflect"

	"github.com/fairlead/fairlead/services/netagent/network"
	"github.com/fairlead/fairlead/services/netagent/store"
)

// Edit changes a network while containers are on it. If it fails, all is as before.
func (m *Manager) Edit(ctx context.Context, ref string, edit network.Edit) (network.Network, error) {
	m.choosing.Lock()
	defer m.choosing.Unlock()
	have, err := m.Store.FindNetwork(ref)
	if err != nil {
		return network.Network{}, err
	}
	return m.edit(ctx, have, edit)
}

// edit is Edit for who has the lock and the network.
func (m *Manager) edit(ctx context.Context, have store.Network, edit network.Edit) (network.Network, error) {
	next, err := edit.Apply(have.Network)
	if err != nil || reflect.DeepEqual(next, have.Network) {
		return next, err
	}
	for _, p := range next.Pools {
		others := m.ours()
		for _, old := range have.Pools {
			delete(others, old.Subnet)
		}
		if err := clash(next, p.Subnet, others); err != nil {
			return have.Network, err
		}
	}
	if err := m.make(ctx, have, next); err != nil {
		return have.Network, errors.Join(err, m.make(context.WithoutCancel(ctx), have, have.Network))
	}
	m.tell(next, "update")
	return next, nil
}

// make stores a network as it is to be and has the guards, the host and the containers on it follow.
func (m *Manager) make(ctx context.Context, have store.Network, n network.Network) error {
	changed := have
	changed.Network = n
	if err := m.Store.PutNetworks(changed); err != nil {
		return err
	}
	if err := m.open(ctx, n); err != nil {
		return err
	}
	return m.Refit(n)
}
