package store

import (
	"reflect"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// networks holds the networks by id, with indexes by name and by link.
var networks = state.NewTable("networks", func(n *Network) string { return n.ID },
	state.Index[Network]{Name: "name", Of: func(n *Network) []string { return []string{n.Name} }},
	state.Index[Network]{Name: "link", Of: func(n *Network) []string { return linksOf(n.Network) }})

// linksOf returns the host links of a network: its bridge, or its parent and the base links of a
// VLAN.
func linksOf(n network.Network) []string {
	if !n.HasParent() {
		return []string{n.Bridge().Device}
	}
	out := []string{n.Parent().Link}
	for i, c := range n.Parent().Link {
		if c == '.' {
			out = append(out, n.Parent().Link[:i])
		}
	}
	return out
}

// Network is a network with the request that created it.
type Network struct {
	network.Network
	Request string `json:",omitempty"` // encoded, for idempotent creation; empty for predefined networks
}

// Networks returns all networks, sorted by name.
func (s *Store) Networks() []Network {
	all := slices.SortedFunc(networks.All(s.db.View()), func(a, b *Network) int {
		return strings.Compare(a.Name, b.Name)
	})
	out := make([]Network, len(all))
	for i, n := range all {
		out[i] = *n
	}
	return out
}

// NetworksAt returns the networks on a host link.
func (s *Store) NetworksAt(link string) []Network {
	var out []Network
	for n := range networks.By(s.db.View(), "link", link) {
		out = append(out, *n)
	}
	return out
}

// AnyNetwork reports whether any network matches.
func (s *Store) AnyNetwork(fits func(*Network) bool) bool {
	for n := range networks.All(s.db.View()) {
		if fits(n) {
			return true
		}
	}
	return false
}

// Network returns the network with the given id; ok is false if it does not exist.
func (s *Store) Network(networkID string) (Network, bool) {
	n, ok := networks.Get(s.db.View(), networkID)
	if !ok {
		return Network{}, false
	}
	return *n, true
}

// NetworkNamed returns the network with the given name; ok is false if it does not exist.
func (s *Store) NetworkNamed(name string) (Network, bool) {
	for n := range networks.By(s.db.View(), "name", name) {
		return *n, true
	}
	return Network{}, false
}

// FindNetwork returns the network with a name, an id or a unique prefix of an id. "default" denotes
// the default bridge. Networks being deleted are not found.
func (s *Store) FindNetwork(ref string) (Network, error) {
	if ref == "default" {
		ref = "bridge"
	}
	n, err := s.FindAnyNetwork(ref)
	if err == nil && n.Status.Deleting {
		return Network{}, fault.New(fault.NotFound, "network "+ref, "not found: it is being deleted")
	}
	return n, err
}

// FindAnyNetwork is like FindNetwork, but also finds networks being deleted.
func (s *Store) FindAnyNetwork(ref string) (Network, error) {
	if ref == "" {
		return Network{}, fault.Invalidf("network", "network", "its name or id is empty; name a network")
	}

	all := withoutShadowed(s.Networks(), ref)
	n, found := id.Find(all, ref, func(n Network) (string, string) { return n.ID, n.Name })
	switch found {
	case 1:
		return n, nil
	case 0:
		return Network{}, fault.New(fault.NotFound, "network "+ref, "not found",
			fault.WithHint("run fairlead network ls to list all networks"))
	}

	return Network{}, fault.Invalidf("network "+ref, "network",
		"is ambiguous (%d matches found based on ID prefix); use a longer prefix or the name", found)
}

// withoutShadowed returns the networks without those of the fleet that have the name ref, if a local
// network has it too.
func withoutShadowed(all []Network, ref string) []Network {
	if !slices.ContainsFunc(all, func(n Network) bool { return n.Name == ref && !n.IsGlobal() }) {
		return all
	}
	return slices.DeleteFunc(all, func(n Network) bool { return n.Name == ref && n.IsGlobal() })
}

// PutNetworks stores networks in one transaction.
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

// MoveNetwork stores a network and its reservations in one transaction.
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

// ChangeNetwork applies change to a network and its sandboxes in one transaction. changed is false
// if nothing differs, or if the network does not exist or is being deleted.
func (s *Store) ChangeNetwork(networkID string, change func(n Network, on []endpoint.Sandbox) Network) (next Network,
	changed bool, err error) {
	err = s.db.Update(func(tx *state.Tx) error {
		n, ok := networks.Get(tx, networkID)
		if !ok || n.Status.Deleting {
			return nil
		}
		var on []endpoint.Sandbox
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

// AddNetwork stores a new network. It fails if the id or name exists.
func (s *Store) AddNetwork(n Network) error {
	return s.db.Update(func(tx *state.Tx) error {
		for other := range networks.All(tx) {
			if other.ID == n.ID || other.Name == n.Name {
				return fault.New(fault.Exists, n.Subject(), "network with name "+n.Name+" already exists",
					fault.WithField("name"))
			}
		}
		return networks.Put(tx, &n)
	})
}

// MarkDeleting marks a network as deleting if it has no sandboxes. Otherwise it returns them and
// changes nothing. With nameless the name becomes free immediately.
func (s *Store) MarkDeleting(networkID string, nameless bool) (on []endpoint.Sandbox, err error) {
	err = s.db.Update(func(tx *state.Tx) error {
		n, ok := networks.Get(tx, networkID)
		if !ok || n.Status.Deleting {
			return nil
		}
		for sb := range sandboxes.By(tx, "network", networkID) {
			on = append(on, *sb)
		}
		if len(on) > 0 {
			return nil
		}
		changed := *n
		if changed.Status.Deleting = true; nameless {
			changed.Name = ""
		}
		return networks.Put(tx, &changed)
	})

	return on, err
}

// DeleteNetwork deletes a network with its reservations and held leases. was is false if it did not
// exist.
func (s *Store) DeleteNetwork(networkID string) (was bool, err error) {
	err = s.db.Update(func(tx *state.Tx) (err error) {
		if err := dropReservations(tx, networkID); err != nil {
			return err
		}
		if err := deleteHeldLeases(tx, "network", networkID, ""); err != nil {
			return err
		}
		was, err = networks.Delete(tx, networkID)
		return err
	})

	return was, err
}

// SetApplied stores the firewall content that natagent has acknowledged. It does nothing if it is
// unchanged.
func (s *Store) SetApplied(networkID, content string) error {
	return s.db.Update(func(tx *state.Tx) error {
		n, ok := networks.Get(tx, networkID)
		if !ok || n.Status.AppliedFingerprint == content {
			return nil
		}
		changed := *n
		changed.Status.AppliedFingerprint = content
		return networks.Put(tx, &changed)
	})
}
