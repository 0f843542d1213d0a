// Package leases acquires, renews and releases the DHCP leases of endpoints, and keeps those of
// stopped containers.
//
// Terms are stored before they are applied, so a crash loses none. It allocates no addresses of
// pools. Packages sandbox and networks call it.
package leases

import (
	"log/slog"

	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Config holds the dependencies of Leases.
type Config struct {
	Store      *store.Store
	LAN        driver.Leaser // nil: no network uses DHCP
	Attach     *attach.Syncer
	Locks      *lock.Set
	Namespaces namespace.Keeper
	Log        *slog.Logger // nil discards
}

// Leases acquires and renews DHCP leases. It is safe for concurrent use.
type Leases struct {
	store      *store.Store
	lan        driver.Leaser
	attach     *attach.Syncer
	locks      *lock.Set
	namespaces namespace.Keeper
	log        *slog.Logger
}

// New returns the leases of a store.
func New(cfg Config) *Leases {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Leases{store: cfg.Store, lan: cfg.LAN, attach: cfg.Attach, locks: cfg.Locks, namespaces: cfg.Namespaces,
		log: cfg.Log}
}
