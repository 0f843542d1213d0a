// Package sandbox creates and releases sandboxes: namespaces with addresses and endpoints.
//
// A sandbox exists completely or not at all. It is stored and created concurrently, and its
// namespace is pinned last. A pin without a record, or a record without a pin, is stale after a
// crash, and Recover removes both. An unpinned namespace ends with the process. That of another program
// does not: its record exists before Create puts anything into it, and until Release has removed all.
//
// Package api calls it. It allocates addresses in package address and changes namespaces in package
// attach. It does not configure the host side of networks: drivers do.
package sandbox

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/leases"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Bringup applies networks to natagent and the host.
type Bringup interface {
	// Require returns after natagent has acknowledged the network.
	Require(context.Context, store.Network) error
}

// Config holds the dependencies of a Manager.
type Config struct {
	Store      *store.Store
	Drivers    driver.Set
	Bringup    Bringup
	Addresses  *address.Addresses
	Source     address.Source // extends exhausted pools; nil: they do not grow
	Attach     *attach.Syncer
	Leases     *leases.Leases
	Locks      *lock.Set
	Namespaces namespace.Keeper
	Dir        string       // directory of pinned namespaces
	Log        *slog.Logger // nil discards
}

// Manager manages all sandboxes. It is safe for concurrent use.
type Manager struct {
	store      *store.Store
	drivers    driver.Set
	bringup    Bringup
	addresses  *address.Addresses
	source     address.Source
	attach     *attach.Syncer
	leases     *leases.Leases
	locks      *lock.Set
	namespaces namespace.Keeper
	dir        string
	log        *slog.Logger
	accepting  atomic.Bool
	times      metrics.Times // of attachments, by outcome
}

// Times returns the durations of created and connected sandboxes, by outcome.
func (m *Manager) Times() *metrics.Times { return &m.times }

// New returns a manager. It rejects changes until AcceptRequests is called.
func New(cfg Config) *Manager {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Manager{store: cfg.Store, drivers: cfg.Drivers, bringup: cfg.Bringup, addresses: cfg.Addresses,
		source: cfg.Source, attach: cfg.Attach, leases: cfg.Leases, locks: cfg.Locks, namespaces: cfg.Namespaces,
		dir: cfg.Dir, log: cfg.Log}
}

// Get returns the sandbox of an owner.
func (m *Manager) Get(owner string) (endpoint.Sandbox, error) {
	if err := endpoint.ValidateOwner(owner); err != nil {
		return endpoint.Sandbox{}, err
	}
	sb, ok := m.store.Sandbox(owner)
	if !ok {
		return endpoint.Sandbox{}, fault.NotFoundf(endpoint.SandboxSubject(owner), "not found")
	}
	return sb, nil
}

// Compare returns the differences between the namespace of an owner and its record.
func (m *Manager) Compare(owner string) ([]string, error) { return m.attach.Compare(owner) }

// List returns all sandboxes, sorted by owner.
func (m *Manager) List() []endpoint.Sandbox { return m.store.Sandboxes() }

// ReservationOwners returns the owners of address reservations, with or without a sandbox.
func (m *Manager) ReservationOwners() []string {
	var all []string
	for _, r := range m.store.Reservations() {
		all = append(all, r.Owner)
	}
	return all
}

// pinOf returns the path of an owner's pinned namespace. Its name is the short ID.
func (m *Manager) pinOf(owner string) string { return filepath.Join(m.dir, id.Short(owner)) }

// Ready returns an error until AcceptRequests is called.
func (m *Manager) Ready() error {
	if m.accepting.Load() {
		return nil
	}
	return fault.New(fault.Unavailable, "netagent", "is starting", fault.WithHint("retry in a moment"))
}
