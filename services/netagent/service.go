// Package netagent is the service that owns networks, sandboxes, endpoints, leases and links. Others ask it by gRPC; it asks
// natagent to guard its bridges. This package only puts the parts together.
package netagent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/api"
	"github.com/fairlead/fairlead/services/netagent/internal/diagnose"
	"github.com/fairlead/fairlead/services/netagent/internal/dnssockets"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/bridge"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/macvlan"
	"github.com/fairlead/fairlead/services/netagent/internal/heal"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/networks"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
	"github.com/fairlead/fairlead/services/netagent/internal/reconcile"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Config is what netagent must be told. Values that are not valid, or empty, have the default.
type Config struct {
	DataRoot string // holds net.db
	ExecRoot string // holds net-fd.sock, where dnsagent gets sockets, and netns/, where namespaces are pinned; on a file system that does not survive a reboot
	Log      *slog.Logger
	State    state.Config // how the store is opened

	Bip              netip.Prefix // the default bridge's address and subnet; what a bridge of others has, or 172.17.0.1/16
	FixedCIDR        netip.Prefix // where its containers' addresses come from; all of the subnet
	DefaultGateway   netip.Addr   // what its containers are told; the bridge's address
	Bip6             netip.Prefix // its IPv6 address and subnet; the first of FixedCIDRv6, and no IPv6 without that
	FixedCIDRv6      netip.Prefix
	DefaultGatewayV6 netip.Addr
	MTU              int    // 1500
	BridgeName       string // docker0, or fairlead0 where that is another engine's

	IPv6         bool       // the default bridge has IPv6, with a subnet of the host's own if none is given
	Isolated     bool       // containers on it do not reach each other
	NoMasquerade bool       // containers on it leave with their own addresses
	HostBinding  netip.Addr // where their ports are published that name no address; on all
	NoBridge     bool       // there is no default bridge

	NoForwarding   bool                         // forwarding is not switched on, as somebody else does
	NetworkOptions map[string]map[string]string // driver -> option -> value, for networks that are made without it
	Renumber       bool                         // running containers follow when the default bridge has another subnet

	// AddressPools are where subnets come from that no request names. Empty means Docker's ranges and unique local IPv6 addresses.
	AddressPools []AddressPool

	Firewall  natv1.FirewallServiceClient // natagent
	Namespace string                      // a file that is the host's network namespace; the process's own

	root      string // where the host's /etc is; for tests
	unguarded bool   // ports have no guard; for tests that show what it is for

	checkIsolation func() error // tells why ports of a bridge cannot be kept apart; tests have their own
}

// AddressPool is a prefix that new networks get their subnets from, and the length of these subnets.
type AddressPool struct {
	Base netip.Prefix
	Size int
}

func addressSpace(pools []AddressPool) network.AddressPools {
	var space network.AddressPools
	for _, p := range pools {
		space = append(space, ipam.Base{Prefix: p.Base, Bits: p.Size})
	}
	return space
}

// Service is netagent.
type Service struct {
	*api.Server
	settings   network.BridgeSettings
	store      *store.Store
	host       *kernel.Host
	portGuard  *portguard.Guard
	bridges    *bridge.Driver
	networks   *networks.Manager
	sandboxes  *sandbox.Manager
	dnsSockets *dnssockets.Keeper
	fdSocket   string // the unix socket at which dnsagent gets sockets
	reconciler *reconcile.Reconciler
	log        *slog.Logger
	events     events.Broker
	cleaned    map[string]bool // the networks that Clean has taken off the host
}

// settings is what the configuration says of the default bridge. What it does not say of one that others have made is as those want it.
func (c Config) settings(host *kernel.Host, db *store.Store) (network.BridgeSettings, error) {
	s := network.BridgeSettings{Bip: c.Bip, FixedCIDR: c.FixedCIDR, DefaultGateway: c.DefaultGateway, Bip6: c.Bip6,
		FixedCIDRv6: c.FixedCIDRv6, DefaultGatewayV6: c.DefaultGatewayV6, MTU: c.MTU, BridgeName: c.BridgeName, IPv6: c.IPv6,
		Isolated: c.Isolated, NoMasquerade: c.NoMasquerade, HostBinding: c.HostBinding, NoBridge: c.NoBridge, Renumber: c.Renumber}
	if c.BridgeName != "" && c.BridgeName != network.DefaultBridgeName && !c.NoBridge {
		has, err := host.BridgeAddresses(c.BridgeName)
		if err != nil {
			return s, fault.Wrap(err, fault.Internal, "bridge "+c.BridgeName, "cannot be looked at")
		}
		s = s.Adopt(has)
	}
	s, err := avoidForeignBridge(s, host, db)
	if err != nil {
		return s, fault.Wrap(err, fault.Internal, "default bridge", "cannot be chosen")
	}
	if s.BridgeName == fallbackBridge && c.BridgeName == "" {
		c.Log.Warn("the bridge "+network.DefaultBridgeName+" is another container engine's; the default network is on another", "bridge", s.BridgeName, "bip", s.Bip)
	}
	s = s.WithDefaults()
	return s, s.Validate()
}

// defaultDataRoot is where the agent of a host usually has its state.
const defaultDataRoot = "/var/lib/fairlead"

// suffix distinguishes the nftables tables of agents with other roots.
func (c Config) suffix() string {
	if filepath.Clean(c.DataRoot) == defaultDataRoot {
		return ""
	}
	sum := sha256.Sum256([]byte(filepath.Clean(c.DataRoot)))
	return "-" + hex.EncodeToString(sum[:4])
}

// CheckOptions finds options of networks with which no network could be made.
func (c Config) CheckOptions() error {
	var errs []error
	for driver := range c.NetworkOptions {
		if _, err := (network.Spec{Name: "any", Driver: driver}).WithOptions(c.NetworkOptions).Build(); err != nil {
			errs = append(errs, fault.New(fault.Invalid, "default-network-opts", "no network of driver "+driver+" could be made with them: "+err.Error(),
				fault.WithHint("correct them")))
		}
	}
	return errors.Join(errs...)
}

// stateConfig names what only the store explains.
func (c Config) stateConfig() state.Config {
	how := c.State
	how.Evidence = state.Evidence{"network namespaces of containers": filepath.Join(c.ExecRoot, "netns", "*")}.Find
	return how
}

// New opens the state and tries the kernel. It changes nothing.
func New(_ context.Context, cfg Config) (*Service, error) {
	if cfg.Firewall == nil || cfg.Log == nil {
		return nil, fault.New(fault.Internal, "netagent", "was given no natagent to ask, or no log")
	}
	if err := kernel.Probe(); err != nil {
		return nil, fault.New(fault.Unavailable, "kernel", "cannot do what netagent needs", fault.WithCause(err),
			fault.WithHint("netagent needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and a kernel with network namespaces, bridge and veth"))
	}
	host, err := kernel.Open(cfg.Namespace)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "kernel", "cannot be talked to")
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

// assemble is where a driver is added: one line each for what sandboxes and what the reconciler need of it.
func assemble(cfg Config, settings network.BridgeSettings, host *kernel.Host, ports *portguard.Guard, db *store.Store) *Service {
	s := &Service{settings: settings, store: db, host: host, portGuard: ports, log: cfg.Log, cleaned: map[string]bool{}}
	if cfg.unguarded {
		ports = nil
	}
	bridges := bridge.New(host, ports)
	s.bridges = bridges
	children := macvlan.New(host, func() (all []network.Network) {
		for _, n := range db.Networks() {
			if !n.Deleting && !s.cleaned[n.ID] {
				all = append(all, n.Network)
			}
		}
		return all
	}, db.Sandboxes)
	g := natclient.New(cfg.Firewall, db, func(networkID string) error { return s.reconciler.ApplyNetwork(networkID) }, cfg.Log)
	s.reconciler = reconcile.New(db, host, map[string]reconcile.Driver{network.DriverBridge: bridges,
		network.DriverMacvlan: children, network.DriverIPvlan: children}, g, cfg.Log)
	s.reconciler.NoForwarding, s.reconciler.Root = cfg.NoForwarding, cfg.root
	book := ipam.NewBook()
	s.networks = networks.New(networks.Config{Store: db, Book: book, Host: host, Guard: g, Ground: s.reconciler, Parents: children, Isolates: cfg.checkIsolation, Space: addressSpace(cfg.AddressPools),
		Options: cfg.NetworkOptions, Nameservers: nameservers, Events: &s.events, Log: cfg.Log})
	s.sandboxes = sandbox.New(db, map[string]sandbox.Driver{network.DriverBridge: bridges,
		network.DriverMacvlan: children, network.DriverIPvlan: children}, g, book, filepath.Join(cfg.ExecRoot, "netns"))
	s.reconciler.Leaving = s.sandboxes.Leaving
	s.sandboxes.Log = cfg.Log
	s.networks.Sandboxes, s.sandboxes.Grow, s.sandboxes.LAN = s.sandboxes, s.networks.Grow, children
	s.dnsSockets, s.fdSocket = dnssockets.New(s.sandboxes, cfg.Log), filepath.Join(cfg.ExecRoot, "net-fd.sock")
	s.Server = api.New(s.networks, sandboxes{s.sandboxes, s.dnsSockets}, &s.events, func() []diagnosis.Finding { return diagnose.Run(host, s.portGuard.Missing()) })
	s.Server.Check = s.check
	return s
}

// Run makes the host be as the store says, calls ready when natagent has acknowledged every network, and keeps both true until
// ctx ends. Networks and sandboxes stay.
func (s *Service) Run(ctx context.Context, ready func()) error {
	found, err := s.sandboxes.Recover()
	if err != nil {
		return err
	}
	s.log.Info("sandboxes compared with the kernel", "kept", found.Restored, "gone", len(found.Missing), "stray", len(found.StalePins), "left", len(found.Left))
	if err := s.reconciler.StorePredefined(s.settings); err != nil {
		return err
	}
	left, err := s.sandboxes.Rebuild(found.Left, s.host.Links)
	if err != nil {
		return err
	}
	s.reconciler.NoSweep = left > 0
	if err := errors.Join(s.guardPorts(), s.reconciler.Start(), s.networks.Resume(), s.sandboxes.ResumeRenumbering()); err != nil {
		return err
	}
	handOver, err := fdpass.Listen(s.fdSocket)
	if err != nil {
		return err
	}
	s.sandboxes.AcceptRequests()
	var all sync.WaitGroup
	defer all.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	all.Go(func() { s.dnsSockets.Serve(ctx, handOver) })
	all.Go(func() { s.reconciler.Watch(ctx) })
	healer := &heal.Healer{Host: s.host, Sandboxes: s.sandboxes, Bridges: s.reconciler, Resolvers: s.dnsSockets, Log: s.log}
	all.Go(func() { healer.Run(ctx) })
	all.Go(func() { s.networks.RunDeletions(ctx) })
	all.Go(func() { s.networks.WatchOverlaps(ctx) })
	all.Go(func() { s.sandboxes.RunLeaseRenewal(ctx, s.log) })
	if err := s.reconciler.WaitForNatagent(ctx, all.Go); err != nil {
		return nil // told to stop while waiting, which is the only way that it fails
	}
	all.Go(func() { s.sandboxes.RepairAll(ctx) })
	ready()
	<-ctx.Done()
	return nil
}

// guardPorts makes the port guard as the store says, at once for all networks and sandboxes.
func (s *Service) guardPorts() error {
	var networks []network.Network
	for _, n := range s.store.Networks() {
		if !n.Deleting {
			networks = append(networks, n.Network)
		}
	}
	_, err := s.bridges.Guard(networks, s.store.Sandboxes())
	return fault.Wrap(err, fault.Internal, "port guard", "cannot be written")
}

// Close lets go of the state file and the sockets.
func (s *Service) Close() error {
	s.host.Close()
	return errors.Join(s.portGuard.Close(), s.store.Close())
}

// sandboxes lets go of the sockets that are kept for names, too, when a namespace is to go.
type sandboxes struct {
	*sandbox.Manager
	names *dnssockets.Keeper
}

func (s sandboxes) Release(ctx context.Context, owner string, keep network.ReleaseKeep) error {
	err := s.Manager.Release(ctx, owner, keep)
	if err == nil && !keep.Namespace {
		s.names.Forget(owner)
	}
	return err
}

// nameservers are the host's, as far as its resolv.conf names them. Without one there are none.
func nameservers() []netip.Addr {
	data, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(words[1]); err == nil {
			out = append(out, addr.WithZone(""))
		}
	}
	return out
}
