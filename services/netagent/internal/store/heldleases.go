package store

import (
	"net"
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// leases: owner and network -> Held; found by owner and by network
var leases = state.NewTable("leases", func(h *HeldLease) string { return h.Owner + "/" + h.NetworkID },
	state.Index[HeldLease]{Name: "owner", Of: func(h *HeldLease) []string { return []string{h.Owner} }},
	state.Index[HeldLease]{Name: "network", Of: func(h *HeldLease) []string { return []string{h.NetworkID} }})

// HeldLease is what the LAN of a network has granted to an owner who is not on it at the moment, and will want to have again.
type HeldLease struct {
	Owner, NetworkID string
	MAC              net.HardwareAddr
	Lease4, Lease6   *lease.Terms
}

// Endpoint is an endpoint of the owner's with what is held.
func (h HeldLease) Endpoint() network.Endpoint {
	return network.Endpoint{NetworkID: h.NetworkID, MAC: h.MAC}.WithLeases(h.Lease4, h.Lease6)
}

// Held answers all that is held for an owner.
func (s *Store) Held(owner string) []HeldLease {
	var out []HeldLease
	for h := range leases.By(s.db.View(), "owner", owner) {
		out = append(out, *h)
	}
	return out
}

// HeldOn answers all that is held on a network.
func (s *Store) HeldOn(networkID string) []HeldLease {
	var out []HeldLease
	for h := range leases.By(s.db.View(), "network", networkID) {
		out = append(out, *h)
	}
	return out
}

// DropHeldLeasesOn forgets what is held on a network.
func (s *Store) DropHeldLeasesOn(networkID string) error {
	return s.db.Update(func(tx *state.Tx) error { return unhold(tx, "network", networkID, "") })
}

// Hold holds what a sandbox has been granted for its owner.
func (s *Store) Hold(sb network.Sandbox) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, e := range sb.Endpoints {
			if e.Lease4 == nil && e.Lease6 == nil {
				continue
			}
			if n, ok := networks.Get(tx, e.NetworkID); !ok || n.Deleting {
				continue
			}
			if err := leases.Put(tx, &HeldLease{sb.Owner, e.NetworkID, e.MAC, e.Lease4, e.Lease6}); err != nil {
				return err
			}
		}
		return nil
	})
}

// DropHeldLeases forgets what is held for an owner, on one network or with an empty id on all.
func (s *Store) DropHeldLeases(owner, networkID string) error {
	return s.db.Update(func(tx *state.Tx) error { return unhold(tx, "owner", owner, networkID) })
}

// unhold forgets what is held under a key of an index, on one network or with an empty id on all.
func unhold(tx *state.Tx, index, key, networkID string) error {
	for _, h := range slices.Collect(leases.By(tx, index, key)) {
		if networkID != "" && h.NetworkID != networkID {
			continue
		}
		if _, err := leases.Delete(tx, h.Owner+"/"+h.NetworkID); err != nil {
			return err
		}
	}
	return nil
}
