package address

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Reserve replaces the reservations of an owner by the static addresses of specs, one for each
// network. On failure, nothing changes. The owner must be locked.
func (m *Addresses) Reserve(owner string, nets []store.Network, specs []endpoint.Spec) error {
	before := m.store.Reservation(owner)
	after, taken := store.Reservation{Owner: owner, Affinity: before.Affinity}, []store.Reserved(nil)
	for i, n := range nets {
		wanted, fresh, err := m.reserve(owner, n.Network, specs[i])
		after.Addresses, taken = append(after.Addresses, wanted...), append(taken, fresh...)
		if err != nil {
			m.releaseReserved(taken)
			return err
		}
	}
	if err := m.store.PutReservation(after); err != nil {
		m.releaseReserved(taken)
		return err
	}

	m.releaseReserved(slices.DeleteFunc(slices.Clone(before.Addresses), func(r store.Reserved) bool {
		return slices.Contains(after.Addresses, r) || m.leased(owner, r)
	}))

	return nil
}

// reserve reserves the static addresses of a spec on a network. fresh holds those that the owner
// did not have before.
func (m *Addresses) reserve(
	owner string, n network.Network, spec endpoint.Spec,
) (wanted, fresh []store.Reserved, err error) {
	spec = spec.WithCurrentAddrs(n)
	if err := checkCovered(n, spec); err != nil {
		return nil, nil, err
	}

	for _, p := range n.Spec.Pools {
		addr := staticIn(p, spec)
		if !addr.IsValid() {
			continue
		}
		r := store.Reserved{NetworkID: n.ID, Address: addr}
		wanted = append(wanted, r)
		if m.isOwnAddress(owner, r) {
			continue
		}
		if err := checkOwned(n, p, addr); err != nil {
			return wanted, fresh, err
		}
		if !n.Addresses(p).Usable(addr) || !m.allocator.Claim(n.ID, addr, owner) {
			return wanted, fresh, inUse(n, addr)
		}
		fresh = append(fresh, r)
	}

	return wanted, fresh, nil
}

// staticIn returns the static address of a spec in a pool. It is zero without one.
func staticIn(p network.Pool, spec endpoint.Spec) netip.Addr {
	for _, a := range []netip.Addr{spec.IPv4, spec.IPv6} {
		if a.IsValid() && p.Subnet.Contains(a) {
			return a
		}
	}
	return netip.Addr{}
}

// isOwnAddress reports whether an owner already has an address.
func (m *Addresses) isOwnAddress(owner string, r store.Reserved) bool {
	return m.store.Reservation(owner).Has(r.NetworkID, r.Address) || m.leased(owner, r)
}

// leased reports whether the sandbox of an owner has an address.
func (m *Addresses) leased(owner string, r store.Reserved) bool {
	sb, _ := m.store.Sandbox(owner)
	return slices.ContainsFunc(sb.Endpoints, func(e endpoint.Endpoint) bool {
		return e.NetworkID == r.NetworkID && slices.ContainsFunc(e.AllAddresses(),
			func(p netip.Prefix) bool { return p.Addr() == r.Address })
	})
}

// Restore marks all reservations as allocated and restores the affinities.
func (m *Addresses) Restore() {
	for _, r := range m.store.Reservations() {
		for _, a := range r.Addresses {
			m.allocator.Claim(a.NetworkID, a.Address, r.Owner)
		}
	}
	m.restoreAffinity()
}

// restoreAffinity sets the affinities in the allocator.
func (m *Addresses) restoreAffinity() {
	for _, r := range m.store.Reservations() {
		for _, a := range r.Affinity {
			m.allocator.Prefer(a.NetworkID, a.Address, r.Owner)
		}
	}
}

func (m *Addresses) releaseReserved(all []store.Reserved) {
	for _, r := range all {
		m.allocator.Release(r.NetworkID, r.Address)
	}
}

// ReserveStatic adds the static addresses of a sandbox to the reservations of its owner. With
// remember, the dynamic ones replace its affinities.
func (m *Addresses) ReserveStatic(sb endpoint.Sandbox, remember bool) error {
	r := m.store.Reservation(sb.Owner)
	all, last := slices.Clone(r.Addresses), r.Affinity
	for _, a := range store.StaticOf(sb) {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}

	if remember && len(sb.Endpoints) > 0 {
		last = store.DynamicOf(sb)
	}

	if len(all) == len(r.Addresses) && slices.Equal(last, r.Affinity) {
		return nil
	}
	if err := m.store.PutReservation(store.Reservation{Owner: sb.Owner, Addresses: all, Affinity: last}); err != nil {
		return err
	}

	m.dropAffinity(r)
	for _, a := range last {
		m.allocator.Prefer(a.NetworkID, a.Address, sb.Owner)
	}

	return nil
}

func (m *Addresses) dropAffinity(r store.Reservation) {
	for _, a := range r.Affinity {
		m.allocator.DropAffinity(a.NetworkID, r.Owner)
	}
}

// Unreserve deletes the reservations and affinities of an owner on a network, or on all if
// networkID is empty. Addresses that its sandbox has stay allocated.
func (m *Addresses) Unreserve(owner, networkID string) error {
	r := m.store.Reservation(owner)
	elsewhere := func(a store.Reserved) bool { return networkID != "" && a.NetworkID != networkID }
	var left, gone, last []store.Reserved
	for _, a := range r.Addresses {
		if elsewhere(a) {
			left = append(left, a)
		} else if !m.leased(owner, a) {
			gone = append(gone, a)
		}
	}

	for _, a := range r.Affinity {
		if elsewhere(a) {
			last = append(last, a)
		}
	}

	if len(left) == len(r.Addresses) && len(last) == len(r.Affinity) {
		return nil
	}
	if err := m.store.PutReservation(store.Reservation{Owner: owner, Addresses: left, Affinity: last}); err != nil {
		return err
	}

	m.releaseReserved(gone)
	for _, a := range r.Affinity {
		if !elsewhere(a) {
			m.allocator.DropAffinity(a.NetworkID, owner)
		}
	}

	return nil
}
