// Package overlay makes this host part of the networks of its fleet. It follows the view that
// fleetagent serves: it stores the networks, and the address blocks of this host; connects this host
// with the others by a tunnel with entries and routes for each of them; sets a network up with its
// first container, and removes it after its last.
//
// It decides nothing about the fleet and stores nothing there itself: fleetagent does. Packages
// networks and sandbox call it.
package overlay

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/agent/keylock"
	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/encryption"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/pathprobe"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

// Kernel is the part of the kernel that the tunnel needs.
type Kernel interface {
	EnsureTunnel(kernel.Tunnel) (changes []string, err error)
	SyncTunnel(name string, peers []kernel.TunnelPeer, routes []kernel.TunnelRoute) (changes []string, err error)
	DeleteTunnel(name, alias string) error
	WatchTunnel(ctx context.Context, name string, changed func()) error
	Links() ([]kernel.Link, error)
	// LinkWith returns the index of the link with an address; ok is false if there is none.
	LinkWith(netip.Addr) (index int, ok bool, err error)
	Routes() ([]kernel.Route, error)
}

// Encryption is the encrypted tunnels.
type Encryption interface {
	Sync(encryption.View) (published bool, err error)
	Published() []tunnelkey.Public
	Run(ctx context.Context, due func())
	Clean() error
}

// Bringup applies networks to natagent and the host.
type Bringup interface {
	Require(context.Context, store.Network) error
	Sync(context.Context, network.Network) error
	Remove(context.Context, network.Network) error
}

// Containers changes the endpoints of networks.
type Containers struct {
	// Follow applies a changed network to firewall, host and endpoints.
	Follow func(context.Context, network.Network) error
	// Disconnect disconnects a sandbox from a network.
	Disconnect func(ctx context.Context, owner, networkID string) (endpoint.Sandbox, error)
}

// Config holds the dependencies of a Controller.
type Config struct {
	Fleet      fleetv1.OverlayServiceClient // nil: no fleet
	Firewall   natv1.FirewallServiceClient
	Store      *store.Store
	Kernel     Kernel
	Encryption Encryption
	Bringup    Bringup
	Locks      *lock.Set
	Allocator  *ipam.Allocator
	Events     *events.Broker
	Log        *slog.Logger
	Probe      bool // check the ways to other hosts
}

// Controller follows the fleet. It is safe for concurrent use.
type Controller struct {
	Config
	turns  keylock.Mutex[string] // by network: set up and remove; by network and subnet: claims
	synced chan struct{}         // closed with the first complete view
	once   sync.Once

	seen    atomic.Pointer[view] // the last complete view; nil: none yet
	follows sync.Mutex           // serializes what follows a view

	tunnels sync.Mutex // serializes changes of the tunnel; mu below it
	sent    *natv1.FirewallTunnel
	sentAny bool // natagent has acknowledged a tunnel, or that there is none, since the start

	mu       sync.Mutex
	covered  map[string]bool         // networks that the tunnel serves
	claimed  map[netip.Prefix]string // blocks claimed for a network that the view does not have yet
	leaving  map[netip.Prefix]string // parts of blocks that are being given away, by network
	fresh    map[string]bool         // networks created here that the view does not have yet
	requests []*fleetv1.BlockRequest // of other hosts

	// Of the goroutine that tends:
	removed   map[string]bool // deleted networks that were confirmed
	published *fleetv1.PublishHostRequest
	publisher string // ID of this host in the fleet to which it was published

	drift, tend notify.Signal
	paths       *pathprobe.Prober // nil: the ways to other hosts are not checked
}

// New returns a controller. It does nothing before Run.
func New(cfg Config) *Controller {
	c := &Controller{Config: cfg, synced: make(chan struct{}), covered: map[string]bool{},
		claimed: map[netip.Prefix]string{}, leaving: map[netip.Prefix]string{}, removed: map[string]bool{},
		fresh: map[string]bool{}, drift: notify.NewSignal(), tend: notify.NewSignal()}
	if cfg.Probe {
		c.paths = pathprobe.New(cfg.Log)
	}
	return c
}

// Changed reports that containers were connected or removed.
func (c *Controller) Changed() { c.tend.Notify() }

// viewTimeout is the time to wait for the first view.
const viewTimeout = 2 * time.Second

// current returns the view of the fleet, or the error for a host without one.
func (c *Controller) current(ctx context.Context, subject string) (*view, error) {
	if c.Fleet != nil {
		ctx, cancel := context.WithTimeout(ctx, viewTimeout)
		defer cancel()
		select {
		case <-c.synced:
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, subject, "fleetagent does not respond",
				fault.WithHint("retry in a moment"))
		}
	}

	v := c.seen.Load()
	if v == nil || v.self == nil {
		return nil, fault.New(fault.Unavailable, subject,
			"overlay networks span the hosts of a fleet, and this host is in none", fault.WithField("driver"),
			fault.WithHint("run fairlead fleet init to start a fleet, or fairlead fleet join to join one"))
	}
	return v, nil
}

// Require returns after a network is set up on this host: it is the first container's, or the tunnel
// does not serve it yet.
func (c *Controller) Require(ctx context.Context, n store.Network) error {
	if !n.IsGlobal() {
		return c.Bringup.Require(ctx, n)
	}
	if n.Status.Up && natclient.IsApplied(n) && c.serves(n.ID) {
		return nil
	}
	return c.setUp(ctx, n.ID)
}

// serves reports whether the tunnel serves a network. Before the first view, it does as the last
// process has left it.
func (c *Controller) serves(networkID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.covered[networkID] || c.seen.Load() == nil
}

// setUp sets a network up on this host.
func (c *Controller) setUp(ctx context.Context, networkID string) error {
	defer c.turns.Lock(networkID)()

	n, ok := c.Store.Network(networkID)
	if !ok || n.Status.Deleting {
		return fault.New(fault.NotFound, "network "+networkID, "not found: it is being deleted")
	}

	if !n.Status.Marked {
		req := &fleetv1.MarkNetworkUpRequest{NetworkId: n.ID}
		if _, err := c.Fleet.MarkNetworkUp(ctx, req); err != nil {
			return err
		}
	}

	next, changed, err := c.Store.ChangeNetwork(n.ID, func(n store.Network, _ []endpoint.Sandbox) store.Network {
		n.Status.Marked, n.Status.Up = true, true
		return n
	})
	if err != nil {
		return err
	}
	if !changed {
		next = n
	}

	if err := c.Bringup.Sync(ctx, next.Network); err != nil {
		return err
	}
	if err := c.syncTunnel(ctx); err != nil && !c.serves(networkID) { // otherwise it is another network's
		return err
	}
	return nil
}

// tearDown removes a network without containers from this host. The network itself remains.
func (c *Controller) tearDown(ctx context.Context, networkID string) error {
	if err := c.markDown(networkID); err != nil {
		return err
	}

	defer c.turns.Lock(networkID)()
	n, ok := c.Store.Network(networkID)
	if !ok || n.Status.Up { // it has containers
		return nil
	}

	n.Status.Up = true // so that its rules are removed too
	if err := c.Bringup.Remove(ctx, n.Network); err != nil {
		return err
	}

	_, _, err := c.Store.ChangeNetwork(networkID, func(n store.Network, _ []endpoint.Sandbox) store.Network {
		if !n.Status.Up {
			n.Status.AppliedFingerprint = ""
		}
		return n
	})
	return err
}

// markDown marks a network as not set up if it has no containers. None is being attached meanwhile.
func (c *Controller) markDown(networkID string) error {
	defer c.Locks.WriteNetwork(networkID)()
	_, _, err := c.Store.ChangeNetwork(networkID, func(n store.Network, on []endpoint.Sandbox) store.Network {
		n.Status.Up = n.Status.Up && len(on) > 0
		return n
	})
	return err
}
