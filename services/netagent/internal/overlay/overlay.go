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

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/agent/keylock"
	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/pathprobe"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Kernel is the part of the kernel that the tunnel needs.
type Kernel interface {
	EnsureTunnel(kernel.Tunnel) (changes []string, err error)
	SyncTunnel(name string, peers []kernel.TunnelPeer, routes []kernel.TunnelRoute) (changes []string, err error)
	DeleteTunnel(name, alias string) error
	WatchTunnel(ctx context.Context, name string, changed func()) error
	Links() ([]kernel.Link, error)
	Addresses(index int) ([]netip.Prefix, error)
	Routes() ([]kernel.Route, error)
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
	Fleet     fleetv1.OverlayServiceClient // nil: no fleet
	Firewall  natv1.FirewallServiceClient
	Store     *store.Store
	Kernel    Kernel
	Bringup   Bringup
	Locks     *lock.Set
	Allocator *ipam.Allocator
	Events    *events.Broker
	Log       *slog.Logger
	Probe     bool // check the ways to other hosts
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
	return c.syncTunnel(ctx)
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

// tunnelAlias identifies the tunnel's device.
const tunnelAlias = "fairlead fleet"

// Port is the UDP port of the tunnel, that of VXLAN.
const Port = 4789

// The bytes that a tunnel adds to each packet: Ethernet, IP, UDP and VXLAN headers.
const overhead4, overhead6 = 14 + 20 + 8 + 8, 14 + 40 + 8 + 8

// usualMTU is the MTU of an underlay without a published one.
const usualMTU = 1500

// syncTunnel makes the tunnel as the view and the networks on this host require: the rules of
// natagent first, if there was no tunnel. Without a view, the tunnel stays as it is.
func (c *Controller) syncTunnel(ctx context.Context) error {
	c.tunnels.Lock()
	defer c.tunnels.Unlock()

	v := c.seen.Load()
	if v == nil {
		return nil
	}

	up, ipv6 := map[string]bool{}, false
	for _, n := range c.Store.Networks() {
		if n.IsGlobal() && n.Status.Up && !n.Status.Deleting {
			up[n.ID], ipv6 = true, ipv6 || n.HasIPv6()
		}
	}

	if len(up) == 0 || v.self == nil {
		c.cover(nil)
		err := c.Kernel.DeleteTunnel(network.TunnelDevice, tunnelAlias)
		if ferr := c.sendTunnel(ctx, nil); err == nil {
			err = ferr
		}
		return err
	}

	if err := c.connect(ctx, v, up, ipv6); err != nil {
		return err
	}
	c.cover(up)
	return nil
}

// Clean removes the tunnel from the host.
func (c *Controller) Clean() error { return c.Kernel.DeleteTunnel(network.TunnelDevice, tunnelAlias) }

func (c *Controller) cover(networks map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.covered = networks
}

// connect applies the tunnel to natagent and the kernel, concurrently unless it is new.
func (c *Controller) connect(ctx context.Context, v *view, up map[string]bool, ipv6 bool) error {
	tunnel, err := tunnelOf(v.self, ipv6)
	if err != nil {
		return err
	}

	peers := v.peers(up)
	rules := rulesOf(tunnel, peers)
	if c.sent == nil {
		if err := c.sendTunnel(ctx, rules); err != nil {
			return err
		}
	}

	done := make(chan error, 1)
	go func() { done <- c.sendTunnel(ctx, rules) }()
	changes, err := c.Kernel.EnsureTunnel(tunnel)
	if err == nil {
		var more []string
		hops, routes := entriesOf(tunnel, peers)
		more, err = c.Kernel.SyncTunnel(tunnel.Name, hops, routes)
		changes = append(changes, more...)
	}
	if len(changes) > 0 {
		c.Log.Info("tunnel reconciled", "device", tunnel.Name, "changes", changes)
	}

	if ferr := <-done; err == nil {
		err = ferr
	}
	return fault.Wrap(err, fault.Internal, "tunnel "+tunnel.Name, "cannot be set up")
}

// sendTunnel sends the tunnel to natagent unless it has acknowledged the same; nil: there is none.
func (c *Controller) sendTunnel(ctx context.Context, t *natv1.FirewallTunnel) error {
	if c.sentAny && (t == nil) == (c.sent == nil) && proto.Equal(c.sent, t) {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := c.Firewall.PutTunnel(ctx, &natv1.PutTunnelRequest{Tunnel: t}); err != nil {
		return fault.New(fault.Unavailable, "tunnel", "natagent cannot apply its firewall rules",
			fault.WithCause(err), fault.WithHint("check that natagent is running, then try again"))
	}
	c.sent, c.sentAny = t, true
	return nil
}

// callTimeout bounds one call of another service.
const callTimeout = 5 * time.Second

// tunnelOf returns the tunnel of this host.
func tunnelOf(self *fleetv1.OverlaySelf, ipv6 bool) (kernel.Tunnel, error) {
	mac, _, err := linkAddresses(self.GetHostId())
	local, perr := netip.ParseAddr(self.GetAddress())
	if err == nil {
		err = perr
	}

	mtu, overhead := int(self.GetUnderlayMtu()), overhead4
	if mtu == 0 {
		mtu = usualMTU
	}
	if local.Is6() {
		overhead = overhead6
	}
	return kernel.Tunnel{Name: network.TunnelDevice, Alias: tunnelAlias, VNI: self.GetVni(), Port: Port,
		Local: local.Unmap(), MAC: mac, MTU: mtu - overhead, IPv6: ipv6}, err
}

// rulesOf returns the tunnel for natagent.
func rulesOf(t kernel.Tunnel, peers []peer) *natv1.FirewallTunnel {
	out := &natv1.FirewallTunnel{Device: t.Name, Vni: t.VNI, Port: uint32(t.Port), Mtu: uint32(t.MTU)}
	for _, p := range peers {
		one := &natv1.FirewallPeer{Address: p.addr.String()}
		for _, b := range p.blocks {
			one.Blocks = append(one.Blocks, b.String())
		}
		out.Peers = append(out.Peers, one)
	}
	return out
}

// entriesOf returns the kernel's entries and routes. The next hop of IPv4 is the underlay address, if
// that is IPv4 too, so that IPv4 works on hosts without IPv6.
func entriesOf(t kernel.Tunnel, peers []peer) (hops []kernel.TunnelPeer, routes []kernel.TunnelRoute) {
	for _, p := range peers {
		via4, needs := p.hop, map[netip.Addr]bool{}
		if p.addr.Is4() {
			via4 = p.addr
		}
		for _, b := range p.blocks {
			via := p.hop
			if b.Addr().Is4() {
				via = via4
			}
			needs[via] = true
			routes = append(routes, kernel.TunnelRoute{To: b, Via: via})
		}
		hop := kernel.TunnelPeer{Underlay: p.addr, MAC: p.mac}
		for _, a := range []netip.Addr{via4, p.hop} {
			if needs[a] {
				hop.NextHops, needs[a] = append(hop.NextHops, a), false
			}
		}
		hops = append(hops, hop)
	}
	return hops, routes
}
