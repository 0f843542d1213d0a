package store

import (
	"net"
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// leases holds the held leases by owner and network, with an index of each.
var leases = state.NewTable("leases", func(h *HeldLease) string { return h.Owner + "/" + h.NetworkID },
	state.Index[HeldLease]{Name: "owner", Of: func(h *HeldLease) []string { return []string{h.Owner} }},
	state.Index[HeldLease]{Name: "network", Of: func(h *HeldLease) []string { return []string{h.NetworkID} }})

// HeldLease holds the DHCP leases that an owner keeps on a network while its container is stopped.
type HeldLease struct {
	Owner, NetworkID string
	MAC              net.HardwareAddr
	Lease4, Lease6   *lease.Terms
}

// Endpoint returns an endpoint of the owner with the held leases.
func (h HeldLease) Endpoint() endpoint.Endpoint {
	return endpoint.Endpoint{NetworkID: h.NetworkID, MAC: h.MAC}.WithLeases(h.Lease4, h.Lease6)
}

// Held returns the held leases of an owner.
func (s *Store) Held(owner string) []HeldLease {
	var out []HeldLease
	for h := range leases.By(s.db.View(), "owner", owner) {
		out = append(out, *h)
	}
	return out
}

// HeldOn returns the held leases on a network.
func (s *Store) HeldOn(networkID string) []HeldLease {
	var out []HeldLease
	for h := range leases.By(s.db.View(), "network", networkID) {
		out = append(out, *h)
	}
	return out
}

// DropHeldLeasesOn deletes the held leases on a network.
func (s *Store) DropHeldLeasesOn(networkID string) error {
	return s.db.Update(func(tx *state.Tx) error { return deleteHeldLeases(tx, "network", networkID, "") })
}

// Hold stores the leases of a sandbox as held leases.
func (s *Store) Hold(sb endpoint.Sandbox) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, e := range sb.Endpoints {
			if e.Lease4 == nil && e.Lease6 == nil {
				continue
			}
			if n, ok := networks.Get(tx, e.NetworkID); !ok || n.Status.Deleting {
				continue
			}
			if err := leases.Put(tx, &HeldLease{sb.Owner, e.NetworkID, e.MAC, e.Lease4, e.Lease6}); err != nil {
				return err
			}
		}
		return nil
	})
}

// DropHeldLeases deletes the held leases of an owner on one network, or on all if networkID is
// empty.
func (s *Store) DropHeldLeases(owner, networkID string) error {
	return s.db.Update(func(tx *state.Tx) error { return deleteHeldLeases(tx, "owner", owner, networkID) })
}

// deleteHeldLeases deletes the held leases under an index key, on one network or on all if networkID is
// empty.
func deleteHeldLeases(tx *state.Tx, index, key, networkID string) error {
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
