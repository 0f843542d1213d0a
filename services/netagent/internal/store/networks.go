package store

import (
	"reflect"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// networks: id -> Network, found by name and by the link that it is on too
var networks = state.NewTable("networks", func(n *Network) string { return n.ID },
	state.Index[Network]{Name: "name", Of: func(n *Network) []string { return []string{n.Name} }},
	state.Index[Network]{Name: "link", Of: func(n *Network) []string { return linksOf(n.Network) }})

// linksOf are the links of the host that a network is on: its bridge, or its parent and what that may be a VLAN of.
func linksOf(n network.Network) []string {
	if !n.HasParent() {
		return []string{n.Bridge}
	}
	out := []string{n.Parent}
	for i, c := range n.Parent {
		if c == '.' {
			out = append(out, n.Parent[:i])
		}
	}
	return out
}

// Network is a network and what was agreed about it.
type Network struct {
	network.Network
	AppliedFingerprint string // the guard's content that natagent has acknowledged; empty if none
	Request            string // what was asked for, to know the same request again; empty for predefined ones
	EndpointsOutdated  bool   // its sandboxes have still to follow a change of it
	Deleting           bool   // it is being deleted, and nobody can come onto it any more
}

// Networks answers all networks, by name.
func (s *Store) Networks() []Network {
	all := slices.SortedFunc(networks.All(s.db.View()), func(a, b *Network) int { return strings.Compare(a.Name, b.Name) })
	out := make([]Network, len(all))
	for i, n := range all {
		out[i] = *n
	}
	return out
}

// NetworksAt answers those that are on a link of the host.
func (s *Store) NetworksAt(link string) []Network {
	var out []Network
	for n := range networks.By(s.db.View(), "link", link) {
		out = append(out, *n)
	}
	return out
}

// AnyNetwork tells whether a network fits.
func (s *Store) AnyNetwork(fits func(*Network) bool) bool {
	for n := range networks.All(s.db.View()) {
		if fits(n) {
			return true
		}
	}
	return false
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
	n, err := s.FindAnyNetwork(ref)
	if err == nil && n.Deleting {
		return Network{}, fault.New(fault.NotFound, "network "+ref, "not found: it is being deleted")
	}
	return n, err
}

// FindAnyNetwork is FindNetwork which also finds those that are being deleted.
func (s *Store) FindAnyNetwork(ref string) (Network, error) {
	if ref == "" {
		return Network{}, fault.Invalidf("network", "network", "its name or id is empty; name a network")
	}
	n, found := id.Find(s.Networks(), ref, func(n Network) (string, string) { return n.ID, n.Name })
	switch found {
	case 1:
		return n, nil
	case 0:
		return Network{}, fault.New(fault.NotFound, "network "+ref, "not found", fault.WithHint("fairlead network ls shows those that are there"))
	}
	return Network{}, fault.Invalidf("network "+ref, "network", "is ambiguous (%d matches found based on ID prefix); write more of the id, or the name", found)
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

// MoveNetwork stores a network together with what is reserved on it.
func (s *Store) MoveNetwork(n Network, reserved []Reservation) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, r := range reserved {
			if err := putReservation(tx, r); err != nil {
				return err
			}
		}
		return networks.Put(tx, &n)
	})
}

// ChangeNetwork changes what is stored of a network, which is told who is on it. Without a difference nothing is written; false then.
func (s *Store) ChangeNetwork(networkID string, change func(n Network, on []network.Sandbox) Network) (next Network, changed bool, err error) {
	err = s.db.Update(func(tx *state.Tx) error {
		n, ok := networks.Get(tx, networkID)
		if !ok || n.Deleting {
			return nil
		}
		var on []network.Sandbox
		for sb := range sandboxes.By(tx, "network", networkID) {
			on = append(on, *sb)
		}
		if next = change(*n, on); reflect.DeepEqual(next, *n) {
			return nil
		}
		changed = true
		return networks.Put(tx, &next)
	})
	return next, changed, err
}

// AddNetwork stores a new network, for which nothing else may stand under its id or its name.
func (s *Store) AddNetwork(n Network) error {
	return s.db.Update(func(tx *state.Tx) error {
		for other := range networks.All(tx) {
			if other.ID == n.ID || other.Name == n.Name {
				return fault.New(fault.Exists, n.Subject(), "network with name "+n.Name+" already exists", fault.WithField("name"))
			}
		}
		return networks.Put(tx, &n)
	})
}

// MarkDeleting marks a network as being deleted, if no sandbox is on it. Otherwise it answers those, and changes nothing. With
// nameless its name is free at once.
func (s *Store) MarkDeleting(networkID string, nameless bool) (on []network.Sandbox, err error) {
	err = s.db.Update(func(tx *state.Tx) error {
		n, ok := networks.Get(tx, networkID)
		if !ok || n.Deleting {
			return nil
		}
		for sb := range sandboxes.By(tx, "network", networkID) {
			on = append(on, *sb)
		}
		if len(on) > 0 {
			return nil
		}
		changed := *n
		if changed.Deleting = true; nameless {
			changed.Name = ""
		}
		return networks.Put(tx, &changed)
	})
	return on, err
}

// DeleteNetwork forgets a network, and what is reserved on it, and tells whether it was there.
func (s *Store) DeleteNetwork(networkID string) (was bool, err error) {
	err = s.db.Update(func(tx *state.Tx) (err error) {
		if err := dropReservations(tx, networkID); err != nil {
			return err
		}
		if err := unhold(tx, "network", networkID, ""); err != nil {
			return err
		}
		was, err = networks.Delete(tx, networkID)
		return err
	})
	return was, err
}

// SetApplied notes the guard's content that natagent has acknowledged. It does nothing if that is noted already.
func (s *Store) SetApplied(networkID, content string) error {
	return s.db.Update(func(tx *state.Tx) error {
		n, ok := networks.Get(tx, networkID)
		if !ok || n.AppliedFingerprint == content {
			return nil
		}
		changed := *n
		changed.AppliedFingerprint = content
		return networks.Put(tx, &changed)
	})
}
