package store

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/netagent/network"
)

// networks: id -> Network, found by name too
var networks = state.NewTable("networks", func(n *Network) string { return n.ID },
	state.Index[Network]{Name: "name", Of: func(n *Network) []string { return []string{n.Name} }})

// Network is a network and what was agreed about it.
type Network struct {
	network.Network
	Guarded string // the guard's content that natagent has acknowledged; empty if none
}

// Networks answers all networks, by name.
func (s *Store) Networks() []Network {
	var out []Network
	for n := range networks.All(s.db.View()) {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Network answers the network with that id.
func (s *Store) Network(networkID string) (Network, bool) {
	n, ok := networks.Get(s.db.View(), networkID)
	if !ok {
		return Network{}, false
	}
	return *n, true
}

// NetworkNamed answers the network with that name.
func (s *Store) NetworkNamed(name string) (Network, bool) {
	for n := range networks.By(s.db.View(), "name", name) {
		return *n, true
	}
	return Network{}, false
}

// FindNetwork answers the network that a reference means: a full id, a full name or a unique prefix of an id. "default" means
// the default bridge.
func (s *Store) FindNetwork(ref string) (Network, error) {
	if ref == "default" {
		ref = "bridge"
	}
	n, found := id.Find(s.Networks(), ref, func(n Network) (string, string) { return n.ID, n.Name })
	switch found {
	case 1:
		return n, nil
	case 0:
		return Network{}, fault.New(fault.NotFound, "network "+ref, "not found", fault.WithHint("fairlead network ls shows those that are there"))
	}
	return Network{}, fault.Invalidf("network "+ref, "network", "is ambiguous: %d networks' ids start so", found)
}

// PutNetworks stores networks, all or none.
func (s *Store) PutNetworks(all ...Network) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, n := range all {
			if err := networks.Put(tx, &n); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetGuarded notes the guard's content that natagent has acknowledged. It does nothing if that is noted already.
func (s *Store) SetGuarded(networkID, content string) error {
	return s.db.Update(func(tx *state.Tx) error {
		n, ok := networks.Get(tx, networkID)
		if !ok || n.Guarded == content {
			return nil
		}
		changed := *n
		changed.Guarded = content
		return networks.Put(tx, &changed)
	})
}
