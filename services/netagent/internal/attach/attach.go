// Package attach makes namespaces as their records say: interfaces, addresses and routes. It updates
// them after changes of networks, and its controller repairs external changes.
//
// It decides on no addresses and changes no spec. Packages networks, leases and sandbox call it;
// packages damage and bringup touch the owners whose namespaces may differ. It locks the owner in its
// exported methods that take one.
package attach

import (
	"errors"
	"log/slog"

	"github.com/fairlead/fairlead/agent/control"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/cause"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Config holds the dependencies of a Syncer.
type Config struct {
	Store      *store.Store
	Drivers    driver.Set
	Locks      *lock.Set
	Namespaces namespace.Keeper
	Log        *slog.Logger // nil discards
}

// Syncer makes namespaces as their records say. It is safe for concurrent use.
type Syncer struct {
	store      *store.Store
	drivers    driver.Set
	locks      *lock.Set
	namespaces namespace.Keeper
	log        *slog.Logger
	controller *control.Controller[string] // by owner
	programs   cause.Programs[string]      // by owner
}

// New returns a syncer.
func New(cfg Config) *Syncer {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Syncer{store: cfg.Store, drivers: cfg.Drivers, locks: cfg.Locks, namespaces: cfg.Namespaces, log: cfg.Log}
	m.controller = newController(m)
	return m
}

// Exists reports whether the namespace of a sandbox exists.
func (m *Syncer) Exists(sb endpoint.Sandbox) bool {
	return sb.Mode == endpoint.Host || m.namespaces.Exists(sb.NetnsPath)
}

// NetworkOf returns the network and the driver of an endpoint. ok is false if the network does not
// exist.
func (m *Syncer) NetworkOf(e endpoint.Endpoint) (n network.Network, d driver.Driver, ok bool) {
	stored, ok := m.store.Network(e.NetworkID)
	d, known := m.drivers[stored.Driver]
	return stored.Network, d, ok && known
}

// NetworksOf returns the networks of the endpoints of a sandbox, in the same order.
func (m *Syncer) NetworksOf(sb endpoint.Sandbox) []network.Network {
	nets := make([]network.Network, len(sb.Endpoints))
	for i, e := range sb.Endpoints {
		nets[i], _, _ = m.NetworkOf(e)
	}
	return nets
}

// Fault wraps a kernel error in a fault.
func Fault(err error, sb endpoint.Sandbox) error {
	if f := (*fault.Fault)(nil); errors.As(err, &f) {
		return err
	}
	return fault.Wrap(err, fault.Internal, sb.Subject(), "cannot be created")
}

// Running returns the sandbox of an owner if its networks can be changed.
func (m *Syncer) Running(owner string) (endpoint.Sandbox, error) {
	sb, ok := m.store.Sandbox(owner)
	switch {
	case !ok || sb.NetnsOnly || !m.Exists(sb):
		return sb, fault.New(fault.NotFound, endpoint.SandboxSubject(owner), "not found",
			fault.WithHint("only a running container can be connected now"))
	case sb.Mode != endpoint.Private:
		return sb, fault.New(fault.Busy, endpoint.SandboxSubject(owner),
			"container sharing network namespace with another container or host "+
				"cannot be connected to any other network")
	}
	return sb, nil
}
