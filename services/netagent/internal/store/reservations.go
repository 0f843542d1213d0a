package store

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// reservations holds the reservations by owner.
var reservations = state.NewTable("reservations", func(r *Reservation) string { return r.Owner })

// Reservation holds the addresses kept for an owner, with or without a sandbox.
type Reservation struct {
	Owner     string
	Addresses []Reserved
	// Affinity holds the owner's last dynamic addresses, which it gets again if they are free.
	Affinity []Reserved `json:",omitempty"`
}

// Reserved is an address on a network.
type Reserved struct {
	NetworkID string
	Address   netip.Addr
}

// Reservation returns the reservation of an owner; it is empty for most owners.
func (s *Store) Reservation(owner string) Reservation {
	r, ok := reservations.Get(s.db.View(), owner)
	if !ok {
		return Reservation{Owner: owner}
	}
	return *r
}

// Has reports whether an address is reserved.
func (r Reservation) Has(networkID string, addr netip.Addr) bool {
	return slices.Contains(r.Addresses, Reserved{networkID, addr})
}

// Reservations returns all reservations.
func (s *Store) Reservations() []Reservation {
	var out []Reservation
	for r := range reservations.All(s.db.View()) {
		out = append(out, *r)
	}
	return out
}

// DynamicOf returns the dynamic addresses of a sandbox.
func DynamicOf(sb endpoint.Sandbox) []Reserved {
	fixed := StaticOf(sb)
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

// PutReservation replaces the reservation of an owner. It returns a Conflict fault if a network
// does not exist or is being deleted.
func (s *Store) PutReservation(r Reservation) error {
	return s.db.Update(func(tx *state.Tx) error {
		for _, a := range slices.Concat(r.Addresses, r.Affinity) {
			if n, ok := networks.Get(tx, a.NetworkID); !ok || n.Status.Deleting {
				return fault.New(fault.Conflict, "network of "+a.Address.String(), "was deleted concurrently",
					fault.WithHint("choose another network"))
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

// dropReservations deletes the reservations on a network.
func dropReservations(tx *state.Tx, networkID string) error {
	for _, r := range slices.Collect(reservations.All(tx)) {
		there := func(a Reserved) bool { return a.NetworkID == networkID }
		left, last := slices.DeleteFunc(slices.Clone(r.Addresses), there), slices.DeleteFunc(slices.Clone(r.Affinity),
			there)
		if len(left) == len(r.Addresses) && len(last) == len(r.Affinity) {
			continue
		}
		if err := putReservation(tx, Reservation{r.Owner, left, last}); err != nil {
			return err
		}
	}

	return nil
}

// StaticOf returns the static addresses of a sandbox.
func StaticOf(sb endpoint.Sandbox) []Reserved {
	var out []Reserved
	for _, e := range sb.Endpoints {
		for _, a := range []struct{ requested, current netip.Addr }{{e.Spec.IPv4, e.IPv4.Addr()},
			{e.Spec.IPv6, e.IPv6.Addr()}} {
			if a.requested.IsValid() && a.current.IsValid() { // the addresses differ after renumbering
				out = append(out, Reserved{e.NetworkID, a.current})
			}
		}
	}
	return out
}
