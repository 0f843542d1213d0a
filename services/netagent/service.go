// Package netagent is the service for networks, sandboxes, endpoints and leases.
//
// Clients call it over gRPC. It requests firewall rules from natagent. This package only assembles
// the internal packages.
package netagent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/api"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/bringup"
	"github.com/fairlead/fairlead/services/netagent/internal/check"
	"github.com/fairlead/fairlead/services/netagent/internal/damage"
	"github.com/fairlead/fairlead/services/netagent/internal/defaultnet"
	"github.com/fairlead/fairlead/services/netagent/internal/diagnose"
	"github.com/fairlead/fairlead/services/netagent/internal/dnssockets"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/bridge"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/macvlan"
	"github.com/fairlead/fairlead/services/netagent/internal/encryption"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/hostnet"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/leases"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/measure"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/networks"
	"github.com/fairlead/fairlead/services/netagent/internal/overlay"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
	"github.com/fairlead/fairlead/services/netagent/internal/renumber"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
	"github.com/fairlead/fairlead/services/netagent/internal/wireguard"
)

// Config configures netagent. Zero values select the defaults.
type Config struct {
	DataRoot string // holds net.db
	ExecRoot string // holds net-fd.sock for dnsagent, and netns/; its file system must not survive a reboot

	Log   *slog.Logger
	State state.Config // options of the store

	// Bip is the address and subnet of the default bridge. The default is that of an adopted bridge,
	// or 172.17.0.1/16.
	Bip              netip.Prefix
	FixedCIDR        netip.Prefix // range of its containers; default: the subnet
	DefaultGateway   netip.Addr   // gateway of its containers; default: the bridge
	Bip6             netip.Prefix // IPv6 address and subnet; default: the first of FixedCIDRv6, otherwise no IPv6
	FixedCIDRv6      netip.Prefix
	DefaultGatewayV6 netip.Addr
	MTU              int    // default: 1500
	BridgeName       string // default: docker0, or fairlead0 if another engine uses that

	IPv6         bool       // IPv6 on the default bridge, with a unique local subnet unless configured
	Isolated     bool       // no ICC on it
	NoMasquerade bool       // no masquerade on it
	HostBinding  netip.Addr // default host address of published ports; default: all
	NoBridge     bool       // no default bridge

	NoForwarding   bool                         // do not enable forwarding
	NetworkOptions map[string]map[string]string // driver to default options of new networks
	Renumber       bool                         // containers follow a new subnet of the default bridge

	// AddressPools are the source of dynamic subnets; default: Docker's and unique local IPv6 ones.
	AddressPools []AddressPool
	Limits       egress.Defaults // of containers without limits, on networks without limits

	Firewall      natv1.FirewallServiceClient  // natagent
	Fleet         fleetv1.OverlayServiceClient // fleetagent; nil: no networks that span hosts
	WireGuardPort uint16                       // first of two UDP ports of encrypted networks; default: 51820
	KeyLifetime   time.Duration                // of their keys; default: one day
	Namespace     string                       // path of the host's network namespace; default: that of the process

	root      string // root of the host's /etc, for tests
	unguarded bool   // no port guard, for tests

	checkLocks     bool         // panic if locks are taken in another order, for tests
	checkIsolation func() error // returns why isolated ports are not supported; replaced by tests
}

// AddressPool is a prefix for dynamic subnets, and the prefix length of these subnets.
type AddressPool struct {
	Base netip.Prefix
	Size int
}

// Metrics returns the metrics of the service.
func Metrics() []metrics.Family { return measure.Families() }

// Service is netagent.
type Service struct {
	*api.Server
	measure.Meter
	settings   network.BridgeSettings
	store      *store.Store
	host       *kernel.Host
	portGuard  *portguard.Guard
	bridges    *bridge.Driver
	networks   *networks.Manager
	sandboxes  *sandbox.Manager
	renumberer *renumber.Renumberer
	dnsSockets *dnssockets.Keeper
	fdSocket   string // Unix socket that passes sockets to dnsagent
	locks      *lock.Set
	bringup    *bringup.Controller
	predefined *defaultnet.Predefined
	attach     *attach.Syncer
	leases     *leases.Leases
	overlay    *overlay.Controller
	damage     *damage.Watcher
	log        *slog.Logger
	events     events.Broker
	cleaned    map[string]bool // networks that Clean has removed from the host
}

// settings returns the settings of the default bridge. Missing ones are taken from an adopted
// bridge.
func (c Config) settings(host *kernel.Host, db *store.Store) (network.BridgeSettings, error) {
	s := network.BridgeSettings{Bip: c.Bip, FixedCIDR: c.FixedCIDR, DefaultGateway: c.DefaultGateway, Bip6: c.Bip6,
		FixedCIDRv6: c.FixedCIDRv6, DefaultGatewayV6: c.DefaultGatewayV6, MTU: c.MTU, BridgeName: c.BridgeName,
		IPv6: c.IPv6, Isolated: c.Isolated, NoMasquerade: c.NoMasquerade, HostBinding: c.HostBinding,
		NoBridge: c.NoBridge, Renumber: c.Renumber}
	if c.BridgeName != "" && c.BridgeName != network.DefaultBridgeName && !c.NoBridge {
		has, err := host.BridgeAddresses(c.BridgeName)
		if err != nil {
			return s, fault.Wrap(err, fault.Internal, "bridge "+c.BridgeName, "cannot be inspected")
		}
		s = s.Adopt(has)
	}

	s, err := defaultnet.AvoidForeignBridge(s, host, db)
	if err != nil {
		return s, fault.Wrap(err, fault.Internal, "default bridge", "cannot be chosen")
	}

	if s.BridgeName == defaultnet.FallbackBridge && c.BridgeName == "" {
		c.Log.Warn("bridge in use by another engine, using fallback",
			"bridge", network.DefaultBridgeName, "fallback", s.BridgeName, "bip", s.Bip)
	}

	s = s.WithDefaults()
	return s, s.Validate()
}

// defaultDataRoot is the usual data root of an agent.
const defaultDataRoot = "/var/lib/fairlead"

// suffix distinguishes the nftables tables of agents with other roots.
func (c Config) suffix() string {
	if filepath.Clean(c.DataRoot) == defaultDataRoot {
		return ""
	}
	sum := sha256.Sum256([]byte(filepath.Clean(c.DataRoot)))
	return "-" + hex.EncodeToString(sum[:4])
}

// CheckOptions returns an error if the default options are not valid for their driver.
func (c Config) CheckOptions() error {
	var errs []error
	for driver := range c.NetworkOptions {
		if _, err := (network.Draft{Name: "any", Driver: driver}).WithOptions(c.NetworkOptions).Build(); err != nil {
			errs = append(errs, fault.New(fault.Invalid, "default-network-opts",
				"not valid for driver "+driver+": "+err.Error(),
				fault.WithHint("correct the options")))
		}
	}
	return errors.Join(errs...)
}

// stateConfig returns the store options, with the evidence of a lost store.
func (c Config) stateConfig() state.Config {
	how := c.State
	how.Evidence = state.Evidence{"network namespaces of containers": filepath.Join(c.ExecRoot, "netns", "*")}.Find
	return how
}

// New opens the state and probes the kernel. It changes nothing.
func New(_ context.Context, cfg Config) (*Service, error) {
	if cfg.Firewall == nil || cfg.Log == nil {
		return nil, fault.New(fault.Internal, "netagent", "needs a natagent client and a log")
	}
	if err := kernel.Probe(); err != nil {
		return nil, fault.New(fault.Unavailable, "kernel", "lacks features that netagent needs", fault.WithCause(err),
			fault.WithHint("run netagent with CAP_NET_ADMIN and CAP_SYS_ADMIN, "+
				"on a kernel with network namespaces, bridge and veth"))
	}

	host, err := kernel.Open(cfg.Namespace)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "kernel", "netlink socket cannot be opened")
	}

	db, err := store.OpenAs(cfg.DataRoot, cfg.stateConfig())
	if err != nil {
		host.Close()
		return nil, err
	}

	settings, err := cfg.settings(host, db)
	if cfg.checkIsolation == nil {
		cfg.checkIsolation = kernel.TryIsolated
	}
	if settings.Isolated && !settings.NoBridge && err == nil {
		err = networks.IsolationFault("network "+network.NameBridge, "icc", cfg.checkIsolation())
	}

	ports, perr := portguard.Open(cfg.Namespace, cfg.suffix())
	if err = errors.Join(err, perr, cfg.CheckOptions()); err != nil {
		host.Close()
		return nil, errors.Join(err, ports.Close(), db.Close())
	}

	if missing := ports.Missing(); missing != nil {
		cfg.Log.Warn("no source address guard on bridge ports, only MACs are checked", "error", missing)
	}

	return assemble(cfg, settings, host, ports, db), nil
}

// assemble connects the parts of the service, from the lower floors to the upper ones. Nothing is
// connected afterwards.
func assemble(
	cfg Config, settings network.BridgeSettings, host *kernel.Host, ports *portguard.Guard, db *store.Store,
) *Service {
	s := &Service{settings: settings, store: db, host: host, portGuard: ports, log: cfg.Log,
		fdSocket: filepath.Join(cfg.ExecRoot, "net-fd.sock"), cleaned: map[string]bool{}}
	s.locks = lock.New()
	if cfg.checkLocks {
		s.locks = lock.NewChecked()
	}

	if s.bridges = bridge.New(host, ports); cfg.unguarded {
		s.bridges = bridge.New(host, nil)
	}

	children := macvlan.New(host, s.activeNetworks, db.Sandboxes)
	drivers := driver.Set{network.DriverBridge: s.bridges, network.DriverOverlay: s.bridges,
		network.DriverMacvlan: children, network.DriverIPvlan: children}
	allocator := ipam.NewAllocator(time.Now)
	addresses := address.New(db, allocator, children)

	s.predefined = defaultnet.New(db, host, cfg.Log)
	s.attach = attach.New(attach.Config{Store: db, Drivers: drivers, Locks: s.locks, Namespaces: namespace.Host{},
		Log: cfg.Log})
	s.bringup = bringup.New(bringup.Config{Store: db, Kernel: host, Drivers: drivers, Endpoints: s.attach,
		Locks: s.locks, Log: cfg.Log, NatClient: natclient.New(cfg.Firewall, db, cfg.Log),
		Hostnet: hostnet.New(hostnet.Config{Store: db, Kernel: host, NoForwarding: cfg.NoForwarding, Root: cfg.root,
			Log: cfg.Log})})
	s.leases = leases.New(leases.Config{Store: db, LAN: children, Attach: s.attach, Locks: s.locks,
		Namespaces: namespace.Host{}, Log: cfg.Log})
	s.overlay = overlay.New(overlay.Config{Fleet: cfg.Fleet, Firewall: cfg.Firewall, Store: db, Kernel: host,
		Encryption: encryption.New(encryption.Config{Kernel: wireguard.New(cfg.Namespace, host), Store: db,
			Port: cfg.WireGuardPort, Lifetime: cfg.KeyLifetime, Log: cfg.Log}),
		Bringup: s.bringup, Locks: s.locks, Allocator: allocator, Events: &s.events, Log: cfg.Log, Probe: true})
	s.networks = networks.New(networks.Config{Store: db, Locks: s.locks, Allocator: allocator, Addresses: addresses,
		Endpoints: s.attach, Leases: s.leases, Host: host, Bringup: s.bringup, Parents: children, Fleet: s.overlay,
		Isolates: cfg.checkIsolation, AddressPools: addressSpace(cfg.AddressPools), Options: cfg.NetworkOptions,
		Limits: cfg.Limits, Nameservers: hostnet.Nameservers, Events: &s.events, Log: cfg.Log})
	s.sandboxes = sandbox.New(sandbox.Config{Store: db, Drivers: drivers, Bringup: s.overlay, Addresses: addresses,
		Source: s.networks, Attach: s.attach, Leases: s.leases, Locks: s.locks, Namespaces: namespace.Host{},
		Dir: filepath.Join(cfg.ExecRoot, "netns"), Log: cfg.Log})
	s.Meter = measure.Meter{Networks: s.networks, Sandboxes: s.sandboxes}
	s.renumberer = renumber.New(renumber.Config{Store: db, Drivers: drivers, Addresses: addresses, Source: s.networks,
		Attach: s.attach, Locks: s.locks, Namespaces: namespace.Host{}, Ready: s.sandboxes.Ready, Log: cfg.Log})
	checker := check.New(check.Config{Store: db, Host: host, Bringup: s.bringup, Attach: s.attach, Locks: s.locks})
	s.dnsSockets = dnssockets.New(s.sandboxes, cfg.Log)
	s.damage = damage.New(damage.Config{Host: host, Sandboxes: db, Endpoints: s.attach, Bridges: s.bringup,
		Resolvers: s.dnsSockets, Log: cfg.Log})
	s.Server = api.New(api.Config{Networks: s.networks, Events: &s.events, Check: checker.Run,
		SpaceWarnings: overlay.SpaceWarnings(s.overlay), Sandboxes: sandboxes{s.sandboxes, s.renumberer, s.dnsSockets,
			s.overlay}, Diagnose: func() []diagnosis.Finding { return diagnose.Run(host, ports.Missing()) }})
	return s
}

// activeNetworks returns the networks that belong on the host.
func (s *Service) activeNetworks() (all []network.Network) {
	for _, n := range s.store.Networks() {
		if !n.Status.Deleting && !s.cleaned[n.ID] {
			all = append(all, n.Network)
		}
	}
	return all
}

// Run reconciles the host with the store and calls ready after natagent has acknowledged every
// network. It watches both until ctx ends. Networks and sandboxes persist.
func (s *Service) Run(ctx context.Context, ready func()) error {
	found, err := s.sandboxes.Recover()
	if err != nil {
		return err
	}

	s.log.Info("sandboxes recovered", "restored", found.Restored, "missing", len(found.Missing),
		"stale_pins", len(found.StalePins), "unrecorded", len(found.Left))
	if err := s.predefined.Store(s.settings); err != nil {
		return err
	}

	incomplete, err := s.sandboxes.Rebuild(found.Left, s.host.Links)
	if err != nil {
		return err
	}

	if err := errors.Join(s.guardPorts(), s.bringup.Start(incomplete == 0), s.networks.Resume(),
		s.renumberer.Resume()); err != nil {
		return err
	}

	listener, err := fdpass.Listen(s.fdSocket)
	if err != nil {
		return err
	}

	s.sandboxes.AcceptRequests()
	var all sync.WaitGroup
	defer all.Wait()

	ctx, stop := context.WithCancel(ctx)
	defer stop()

	all.Go(func() { s.dnsSockets.Serve(ctx, listener) })
	all.Go(func() { s.attach.Run(ctx) })
	all.Go(func() { s.bringup.Run(ctx) })
	all.Go(func() { s.damage.Run(ctx) })
	all.Go(func() { networks.Finisher{Manager: s.networks}.Run(ctx) })
	all.Go(func() { s.networks.WatchOverlaps(ctx) })
	all.Go(func() { s.leases.Run(ctx) })
	all.Go(func() {
		s.overlay.Run(ctx, overlay.Containers{Follow: networks.Follow(s.networks), Disconnect: s.sandboxes.Disconnect})
	})
	if err := s.bringup.WaitForNatagent(ctx, all.Go); err != nil {
		return nil // fails only if ctx ends
	}

	all.Go(func() { s.attach.RepairAll(ctx) })
	ready()
	<-ctx.Done()
	return nil
}

// guardPorts writes the port guard for all networks and sandboxes in one transaction.
func (s *Service) guardPorts() error {
	var networks []network.Network
	for _, n := range s.store.Networks() {
		if !n.Status.Deleting && n.IsOnHost() {
			networks = append(networks, n.Network)
		}
	}
	_, err := s.bridges.Guard(networks, s.store.Sandboxes())
	return fault.Wrap(err, fault.Internal, "port guard", "cannot be written")
}

// Close closes the store and the sockets.
func (s *Service) Close() error {
	s.host.Close()
	return errors.Join(s.portGuard.Close(), s.store.Close())
}

// sandboxes also renumbers, and closes the DNS sockets of a namespace that is released.
type sandboxes struct {
	*sandbox.Manager
	*renumber.Renumberer
	names *dnssockets.Keeper
	fleet *overlay.Controller
}

func (s sandboxes) Release(ctx context.Context, owner string, keep endpoint.ReleaseKeep) error {
	err := s.Manager.Release(ctx, owner, keep)
	if err == nil && !keep.Namespace {
		s.names.Forget(owner)
	}
	s.fleet.Changed()
	return err
}
