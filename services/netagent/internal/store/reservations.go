package store

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// reservations: owner -> Reservation
var reservations = state.NewTable("reservations", func(r *Reservation) string { return r.Owner })

// Reservation is what nobody but its owner can lease, whether or not the owner has a sandbox.
type Reservation struct {
	Owner     string
	Addresses []Reserved
	// Affinity are addresses that the owner had without asking for them, and gets again if nobody has needed them meanwhile.
	Affinity []Reserved `json:",omitempty"`
}

// Reserved is an address on a network.
type Reserved struct {
	NetworkID string
	Address   netip.Addr
}

// Reservation answers what is reserved for an owner; nothing for most.
func (s *Store) Reservation(owner string) Reservation {
	r, ok := reservations.Get(s.db.View(), owner)
	if !ok {
		return Reservation{Owner: owner}
	}
	return *r
}

// Has tells whether an address is in it.
func (r Reservation) Has(networkID string, addr netip.Addr) bool {
	return slices.Contains(r.Addresses, Reserved{networkID, addr})
}

// Reservations answers all of them.
func (s *Store) Reservations() []Reservation {
	var out []Reservation
	for r := range reservations.All(s.db.View()) {
		out = append(out, *r)
	}
	return out
}

// LastOf are the addresses of a sandbox that were not asked for by number.
func LastOf(sb network.Sandbox) []Reserved {
	fixed := FixedOf(sb)
	var out []Reserved
	for _, e := range sb.Endpoints {
		for _, p := range e.Addresses() {
			if r := (Reserved{e.NetworkID, p.Addr()}); !slices.Contains(fixed, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

// PutReservation stores what is reserved for an owner, in place of what was. Conflict if a network is gone, or about to go.
func (s *Store) PutReservation(r Reservation) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, a := range slices.Concat(r.Addresses, r.Affinity) {
			if n, ok := networks.Get(tx, a.NetworkID); !ok || n.Deleting {
				return fault.New(fault.Conflict, "network of "+a.Address.String(), "was deleted meanwhile", fault.WithHint("choose another network"))
			}
		}
		return putReservation(tx, r)
	})
}

func putReservation(tx *state.Tx, r Reservation) error {
	if len(r.Addresses)+len(r.Affinity) > 0 {
		return reservations.Put(tx, &r)
	}
	_, err := reservations.Delete(tx, r.Owner)
	return err
}

// dropReservations ends those on a network.
func dropReservations(tx *state.Tx, networkID string) error {
	for _, r := range slices.Collect(reservations.All(tx)) {
		there := func(a Reserved) bool { return a.NetworkID == networkID }
		left, last := slices.DeleteFunc(slices.Clone(r.Addresses), there), slices.DeleteFunc(slices.Clone(r.Affinity), there)
		if len(left) == len(r.Addresses) && len(last) == len(r.Affinity) {
			continue
		}
		if err := putReservation(tx, Reservation{r.Owner, left, last}); err != nil {
			return err
		}
	}
	return nil
}

// FixedOf are the addresses of a sandbox that were asked for by number.
func FixedOf(sb network.Sandbox) []Reserved {
	var out []Reserved
	for _, e := range sb.Endpoints {
		for _, a := range []struct{ asked, has netip.Addr }{{e.Spec.IPv4, e.IPv4.Addr()}, {e.Spec.IPv6, e.IPv6.Addr()}} {
			if a.asked.IsValid() && a.has.IsValid() { // at another number meanwhile, if the network was renumbered
				out = append(out, Reserved{e.NetworkID, a.has})
			}
		}
	}
	return out
}
