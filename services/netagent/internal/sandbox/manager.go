// Package sandbox creates and releases sandboxes: namespaces with addresses and endpoints.
//
// A sandbox exists completely or not at all. It is stored and created concurrently, and its
// namespace is pinned last. A pin without a record, or a record without a pin, is stale after a
// crash, and Recover removes both. An unpinned namespace ends with the process.
//
// Packages api and networks call it. It does not configure the host side of networks: drivers do.
package sandbox

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Driver attaches sandboxes to the networks of one type.
type Driver interface {
	// Complete sets the driver-specific fields of an endpoint that has an ID, a name and addresses.
	Complete(network.Network, network.Endpoint) network.Endpoint
	// Attach creates the endpoint in a namespace. On failure, everything it created ends with the
	// namespace.
	Attach(*kernel.Namespace, network.Network, string, network.Endpoint) error
	// Detach stops the traffic of an endpoint, so that its addresses can be reused even while a
	// process holds the namespace. Neither the namespace nor the endpoint needs to exist.
	Detach(network.Network, network.Sandbox, network.Endpoint) error
	// Refit applies a change of the network to an endpoint in its namespace.
	Refit(*kernel.Namespace, network.Network, network.Endpoint) error
	// Renew sets the addresses of an endpoint in its namespace, including the former ones, and
	// removes those in gone.
	Renew(ns *kernel.Namespace, n network.Network, e network.Endpoint, gone []netip.Prefix) error
	// Remove is Detach for an endpoint whose namespace stays. It returns after everything is
	// removed.
	Remove(network.Network, network.Sandbox, network.Endpoint) error
}

// NatClient waits for natagent to acknowledge a network.
type NatClient interface {
	EnsureApplied(context.Context, store.Network) error
}

// LANDriver serves networks whose containers share a LAN with other hosts. These may use addresses
// of the pools, and DHCP servers may grant addresses.
type LANDriver interface {
	// AddressOwner describes the other host that uses an address. It is empty if there is none.
	AddressOwner(n network.Network, addr netip.Addr) (host string, err error)
	// AcquireLease creates the interface of an endpoint and acquires its DHCP leases, preferably
	// those of had. On failure, it removes the interface and releases the leases.
	AcquireLease(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox, e,
		had network.Endpoint) (network.Endpoint, error)
	// RunDHCP runs one DHCP exchange for the lease of one family. It takes at most while.
	RunDHCP(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox,
		e network.Endpoint, ipv6 bool,
		m *lease.Client, while time.Duration) (lease.Event, error)
	// ApplyLease applies a changed lease to an endpoint in its namespace.
	ApplyLease(ns *kernel.Namespace, n network.Network, before, after network.Endpoint) error
	// ReleaseLease releases the DHCP leases of an endpoint, which need not exist. It does not wait
	// long. An error means that the DHCP server may not know of it and the lease will expire.
	ReleaseLease(n network.Network, sb network.Sandbox, e network.Endpoint) error
}

// Manager manages all sandboxes. It is safe for concurrent use.
type Manager struct {
	// LAN serves networks that share a LAN. It may be nil if there are none.
	LAN LANDriver
	// Log receives messages that no caller needs. It may be nil.
	Log *slog.Logger
	// Grow extends a network with an exhausted pool. An Exhausted fault says why it cannot.
	// If it is nil, networks do not grow.
	Grow func(context.Context, network.PoolShortage) error

	store     *store.Store
	drivers   map[string]Driver // by driver name; other drivers do not support endpoints
	guard     NatClient
	dir       string // directory of pinned namespaces
	book      *ipam.Allocator
	owners    keyLock
	foreign   conflicts
	accepting atomic.Bool

	netLocks         networkLocks
	removing         sync.Map // owners whose sandbox is being removed
	renumberNotifier *notifier
}

// New returns a manager that pins namespaces in dir and allocates addresses in book. It rejects
// changes until AcceptRequests is called.
func New(s *store.Store, drivers map[string]Driver, guard NatClient, book *ipam.Allocator, dir string) *Manager {
	return &Manager{store: s, drivers: drivers, guard: guard, dir: dir, book: book,
		owners:  keyLock{held: map[string]*keyHolder{}},
		foreign: conflicts{held: map[held]time.Time{}}, renumberNotifier: newNotifier()}
}

// Get returns the sandbox of an owner.
func (m *Manager) Get(owner string) (network.Sandbox, error) {
	if err := network.ValidateOwner(owner); err != nil {
		return network.Sandbox{}, err
	}
	sb, ok := m.store.Sandbox(owner)
	if !ok {
		return network.Sandbox{}, fault.NotFoundf(subject(owner), "not found")
	}
	return sb, nil
}

// List returns all sandboxes, sorted by owner.
func (m *Manager) List() []network.Sandbox { return m.store.Sandboxes() }

// pinOf returns the path of an owner's pinned namespace. Its name is the short ID.
func (m *Manager) pinOf(owner string) string { return filepath.Join(m.dir, id.Short(owner)) }

func (m *Manager) ready() error {
	if m.accepting.Load() {
		return nil
	}
	return fault.New(fault.Unavailable, "netagent", "is starting", fault.WithHint("retry in a moment"))
}

func subject(owner string) string { return "sandbox of " + id.Short(owner) }
