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

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/netagent/ipam"
	"github.com/fairlead/fairlead/services/netagent/kernel"
	"github.com/fairlead/fairlead/services/netagent/lease"
	"github.com/fairlead/fairlead/services/netagent/network"
	"github.com/fairlead/fairlead/services/netagent/store"
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

// Guard answers when a network may have containers.
type Guard interface {
	Require(context.Context, store.Network) error
}

// LAN is what networks' containers are on that share a LAN with others: somebody else may have an address, and servers give some.
type LAN interface {
	// Claimed tells in words who else has an address; nothing if nobody does.
	Claimed(n network.Network, addr netip.Addr) (who string, err error)
	// Obtain makes an endpoint's interface in its namespace and has the LAN grant it addresses, those of had if it still can. If it fails,
	// there is no interface and nothing is granted.
	Obtain(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox, e, had network.Endpoint) (network.Endpoint, error)
	// Converse goes on with the lease of one family for a while.
	Converse(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox, e network.Endpoint, ipv6 bool,
		m *lease.Machine, while time.Duration) (lease.Event, error)
	// Relet has an endpoint in its namespace be as it is after what is granted to it has changed.
	Relet(ns *kernel.Namespace, n network.Network, before, after network.Endpoint) error
	// Leave gives back what the LAN has granted an endpoint, which need not be there any more. It does not wait for long; an error tells
	// that the LAN may not know of it, and then it ends by itself.
	Leave(n network.Network, sb network.Sandbox, e network.Endpoint) error
}

// Manager knows all sandboxes. It is safe for concurrent use.
type Manager struct {
	// LAN is asked about addresses of networks that are on one. Nil: there are none.
	LAN LAN
	// Log is told what no caller has to know. Nil: it is not told.
	Log *slog.Logger
	// Grow makes a network larger that had no address; an Exhausted fault tells why it cannot be. Nil: none grows.
	Grow func(context.Context, network.Shortage) error

	store   *store.Store
	drivers map[string]Driver // by a network's driver; what is not in it takes no endpoints
	guard   Guard
	dir     string // where namespaces are pinned
	book    *ipam.Book
	owners  keyLock
	foreign foreign
	open    atomic.Bool

	gates   gates
	leaving sync.Map // owners whose sandbox is being removed
	behind  *bell
}

// New makes a manager that pins namespaces in a folder and leases addresses in a book. It refuses to change anything before Recover.
func New(s *store.Store, drivers map[string]Driver, guard Guard, book *ipam.Book, dir string) *Manager {
	return &Manager{store: s, drivers: drivers, guard: guard, dir: dir, book: book, owners: keyLock{held: map[string]*keyHolder{}},
		foreign: foreign{held: map[held]time.Time{}}, behind: newBell()}
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
	if m.open.Load() {
		return nil
	}
	return fault.New(fault.Unavailable, "netagent", "is still comparing its state with the kernel", fault.WithHint("try again in a moment"))
}

func subject(owner string) string { return "sandbox of " + id.Short(owner) }
