// Package address allocates the addresses of endpoints: dynamic ones from the pools of their
// networks, static ones, and reservations of stopped containers.
//
// The store is the truth: an address is in use while a stored sandbox or reservation has it. Package
// sandbox calls it with the owner locked, package networks to move the reservations of a renumbered
// network. It does not change the kernel and does not extend networks.
package address

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Prober finds other hosts that use an address of a pool.
type Prober interface {
	// AddressOwner describes the other host that uses an address. It is empty if there is none.
	AddressOwner(n network.Network, addr netip.Addr) (host string, err error)
}

// Addresses allocates and reserves addresses. It is safe for concurrent use.
type Addresses struct {
	store     *store.Store
	allocator *ipam.Allocator
	prober    Prober
	conflicts conflicts
	limits    atomic.Pointer[egress.Defaults] // of networks without limits; nil: none
}

// New returns the addresses of a store, none of which is in use yet. A nil prober finds no other
// hosts.
func New(s *store.Store, allocator *ipam.Allocator, prober Prober) *Addresses {
	return &Addresses{store: s, allocator: allocator, prober: prober, conflicts: conflicts{held: map[held]time.Time{}}}
}

// SetLimits sets the limits of endpoints on networks without limits. It does not change present endpoints.
func (m *Addresses) SetLimits(l egress.Defaults) { m.limits.Store(&l) }

// defaultLimits returns the limits of networks without limits.
func (m *Addresses) defaultLimits() egress.Defaults {
	if l := m.limits.Load(); l != nil {
		return *l
	}
	return egress.Defaults{}
}
