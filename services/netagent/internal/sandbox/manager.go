// Package sandbox makes and releases sandboxes: namespace, addresses and endpoints as one thing that is there whole or not at
// all.
//
// A sandbox is remembered and made at the same time, and its namespace is pinned last. So a pin without a record and a record
// without a pin are what a crash left, and Recover clears both. Before it is pinned a namespace ends with this process.
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

// Driver plugs sandboxes into the networks of one kind.
type Driver interface {
	// Complete fills in what the driver decides of an endpoint that has its id, name and addresses.
	Complete(network.Network, network.Endpoint) network.Endpoint
	// Attach makes the endpoint in a namespace. If it fails, nothing of it outlives the namespace.
	Attach(*kernel.Namespace, network.Network, string, network.Endpoint) error
	// Detach ends the endpoint's traffic, so that its addresses can be given to others, even while a process holds the namespace. It
	// needs neither that nor the endpoint to be there.
	Detach(network.Network, network.Sandbox, network.Endpoint) error
	// Refit has an endpoint in its namespace follow a change of the network.
	Refit(*kernel.Namespace, network.Network, network.Endpoint) error
	// Renew gives an endpoint in its namespace the addresses that it is to have, old ones among them, and takes others off.
	Renew(ns *kernel.Namespace, n network.Network, e network.Endpoint, gone []netip.Prefix) error
	// Remove is Detach for an endpoint whose namespace stays: nothing of it is left when it returns.
	Remove(network.Network, network.Sandbox, network.Endpoint) error
}

// NatClient answers when a network may have containers.
type NatClient interface {
	EnsureApplied(context.Context, store.Network) error
}

// LANDriver is what networks' containers are on that share a LANDriver with others: somebody else may have an address, and servers give some.
type LANDriver interface {
	// AddressOwner tells in words who else has an address; nothing if nobody does.
	AddressOwner(n network.Network, addr netip.Addr) (who string, err error)
	// AcquireLease makes an endpoint's interface in its namespace and has the LANDriver grant it addresses, those of had if it still can. If it fails,
	// there is no interface and nothing is granted.
	AcquireLease(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox, e, had network.Endpoint) (network.Endpoint, error)
	// RunDHCP goes on with the lease of one family for a while.
	RunDHCP(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox, e network.Endpoint, ipv6 bool,
		m *lease.Client, while time.Duration) (lease.Event, error)
	// ApplyLease has an endpoint in its namespace be as it is after what is granted to it has changed.
	ApplyLease(ns *kernel.Namespace, n network.Network, before, after network.Endpoint) error
	// ReleaseLease gives back what the LANDriver has granted an endpoint, which need not be there any more. It does not wait for long; an error tells
	// that the LANDriver may not know of it, and then it ends by itself.
	ReleaseLease(n network.Network, sb network.Sandbox, e network.Endpoint) error
}

// Manager knows all sandboxes. It is safe for concurrent use.
type Manager struct {
	// LANDriver is asked about addresses of networks that are on one. Nil: there are none.
	LAN LANDriver
	// Log is told what no caller has to know. Nil: it is not told.
	Log *slog.Logger
	// Grow makes a network larger that had no address; an Exhausted fault tells why it cannot be. Nil: none grows.
	Grow func(context.Context, network.PoolShortage) error

	store     *store.Store
	drivers   map[string]Driver // by a network's driver; what is not in it takes no endpoints
	guard     NatClient
	dir       string // where namespaces are pinned
	book      *ipam.Allocator
	owners    keyLock
	foreign   conflicts
	accepting atomic.Bool

	gates            networkLocks
	removing         sync.Map // owners whose sandbox is being removed
	renumberNotifier *notifier
}

// New makes a manager that pins namespaces in a folder and leases addresses in a book. It refuses to change anything before Recover.
func New(s *store.Store, drivers map[string]Driver, guard NatClient, book *ipam.Allocator, dir string) *Manager {
	return &Manager{store: s, drivers: drivers, guard: guard, dir: dir, book: book, owners: keyLock{held: map[string]*keyHolder{}},
		foreign: conflicts{held: map[held]time.Time{}}, renumberNotifier: newBell()}
}

// Get answers an owner's sandbox.
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

// List answers all sandboxes, by owner.
func (m *Manager) List() []network.Sandbox { return m.store.Sandboxes() }

// pinOf is where an owner's namespace is pinned: under the id that people see.
func (m *Manager) pinOf(owner string) string { return filepath.Join(m.dir, id.Short(owner)) }

func (m *Manager) ready() error {
	if m.accepting.Load() {
		return nil
	}
	return fault.New(fault.Unavailable, "netagent", "is still comparing its state with the kernel", fault.WithHint("try again in a moment"))
}

func subject(owner string) string { return "sandbox of " + id.Short(owner) }
