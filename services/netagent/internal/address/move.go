package address

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Move stores a renumbered network and its reservations in one commit, with the static addresses
// mapped to the current pools. If one cannot be mapped, nothing changes. The lock of the network must
// be held for writing, also by undo.
func (m *Addresses) Move(n store.Network) (undo func() error, err error) {
	prior, _ := m.store.Network(n.ID)
	before := m.store.Reservations()
	after, err := m.relocated(n.Network, before)
	if err != nil {
		return nil, err
	}
	for _, r := range after {
		if !slices.ContainsFunc(before, func(b store.Reservation) bool { return b.Owner == r.Owner }) {
			before = append(before, store.Reservation{Owner: r.Owner})
		}
	}
	// Some sandboxes may already follow the new network, so the former one is a further change.
	prior.Status.Generation = n.Status.Changed().Generation
	return func() error { return m.exchange(prior, after, before) }, m.exchange(n, before, after)
}

// exchange stores a network and replaces the reservations before by after.
func (m *Addresses) exchange(n store.Network, before, after []store.Reservation) error {
	var taken []store.Reserved
	for _, r := range after {
		for _, a := range r.Addresses {
			if a.NetworkID != n.ID || m.isOwnAddress(r.Owner, a) {
				continue
			}
			if !m.allocator.Claim(n.ID, a.Address, r.Owner) {
				m.releaseReserved(taken)
				return fault.New(fault.Exists, n.Subject(),
					"static address of "+m.displayName(r.Owner)+" maps to "+a.Address.String()+", which is in use",
					fault.WithField("subnet"), fault.WithHint("choose another subnet"))
			}
			taken = append(taken, a)
		}
	}
	if err := m.store.MoveNetwork(n, after); err != nil {
		m.releaseReserved(taken)
		return err
	}

	for _, r := range before {
		m.dropAffinity(r)
		for _, a := range r.Addresses {
			if a.NetworkID == n.ID && !m.isOwnAddress(r.Owner, a) {
				m.allocator.Release(n.ID, a.Address)
			}
		}
	}

	m.restoreAffinity()
	return nil
}

// relocated returns the reservations after the renumbering of a network. They include the static
// addresses of running containers.
func (m *Addresses) relocated(n network.Network, all []store.Reservation) ([]store.Reservation, error) {
	byOwner := map[string]store.Reservation{}
	for _, r := range all {
		moved, err := m.moved(n, r)
		if err != nil {
			return nil, err
		}
		byOwner[r.Owner] = moved
	}

	for _, sb := range m.store.SandboxesOn(n.ID) {
		r, ok := byOwner[sb.Owner]
		if !ok {
			r.Owner = sb.Owner
		}
		for _, a := range store.StaticOf(sb) {
			now := store.Reserved{NetworkID: a.NetworkID, Address: n.CurrentAddr(a.Address)}
			if a.NetworkID != n.ID {
				continue
			}
			if !usable(n, now.Address) {
				return nil, noPlace(n, sb.DisplayName(), a.Address)
			}
			if now == a || r.Has(n.ID, now.Address) {
				continue
			}
			r.Addresses = append(r.Addresses, now)
		}
		if len(r.Addresses)+len(r.Affinity) > 0 {
			byOwner[sb.Owner] = r
		}
	}

	var out []store.Reservation
	for _, r := range byOwner {
		out = append(out, r)
	}

	return out, nil
}

// moved returns the reservation of one owner after the renumbering of a network.
func (m *Addresses) moved(n network.Network, r store.Reservation) (store.Reservation, error) {
	out := store.Reservation{Owner: r.Owner}
	for _, a := range r.Addresses {
		if a.NetworkID == n.ID {
			now := n.CurrentAddr(a.Address)
			if !usable(n, now) {
				return out, noPlace(n, m.displayName(r.Owner), a.Address)
			}
			a.Address = now
		}
		out.Addresses = append(out.Addresses, a)
	}

	for _, a := range r.Affinity {
		if a.NetworkID == n.ID {
			a.Address = n.CurrentAddr(a.Address)
		}
		if a.NetworkID != n.ID || usable(n, a.Address) {
			out.Affinity = append(out.Affinity, a)
		}
	}

	return out, nil
}

func noPlace(n network.Network, name string, a netip.Addr) error {
	return fault.New(fault.Invalid, n.Subject(),
		"static address "+a.String()+" of "+name+" does not fit the new subnet",
		fault.WithField("subnet"), fault.WithHint("choose a larger subnet"))
}

func usable(n network.Network, a netip.Addr) bool {
	for _, p := range n.Spec.Pools {
		if n.Addresses(p).Usable(a) {
			return true
		}
	}
	return false
}

// displayName returns the name of an owner for messages.
func (m *Addresses) displayName(owner string) string {
	if sb, ok := m.store.Sandbox(owner); ok {
		return sb.DisplayName()
	}
	return id.Short(owner)
}
