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
	"github.com/fairlead/fairlead/services/netagent/internal/address"
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

// LANDriver serves networks whose containers share a LAN with other hosts. DHCP servers may grant
// addresses.
type LANDriver interface {
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

// Config holds the dependencies of a Manager.
type Config struct {
	Store     *store.Store
	Drivers   map[string]Driver // by driver name; other drivers do not support endpoints
	NatClient NatClient
	Addresses *address.Addresses
	// Source extends networks with an exhausted pool. If it is nil, networks do not grow.
	Source address.Source
	// LAN serves networks that share a LAN. It may be nil if there are none.
	LAN LANDriver
	// Dir is the directory of pinned namespaces.
	Dir string
	// Log receives messages that no caller needs. Nil discards.
	Log *slog.Logger
}

// Manager manages all sandboxes. It is safe for concurrent use.
type Manager struct {
	store     *store.Store
	drivers   map[string]Driver
	natClient NatClient
	addresses *address.Addresses
	source    address.Source
	lan       LANDriver
	dir       string
	log       *slog.Logger
	owners    keyLock
	accepting atomic.Bool

	netLocks         networkLocks
	removing         sync.Map // owners whose sandbox is being removed
	renumberNotifier *notifier
}

// New returns a manager. It rejects changes until AcceptRequests is called.
func New(cfg Config) *Manager {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Manager{store: cfg.Store, drivers: cfg.Drivers, natClient: cfg.NatClient, addresses: cfg.Addresses,
		source: cfg.Source, lan: cfg.LAN, dir: cfg.Dir, log: cfg.Log,
		owners: keyLock{held: map[string]*keyHolder{}}, renumberNotifier: newNotifier()}
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
