// Package natagent implements the service for published ports, NAT and network isolation. It owns
// all nf_tables and iptables rules of Fairlead, except those of netagent's port guard. The rules
// stay in effect when it exits.
//
// It needs CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, and CAP_NET_RAW to run iptables. It does not manage
// links, container namespaces or processes.
//
// Packages: api implements gRPC; publish, guard, egress and explain execute requests; publication and hostport
// hold the domain logic; backend chooses the firewall; firewall, conntrack, hold, forwarding and
// hostfirewall access the host; store holds the state; reconcile applies it.
package natagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/api"
	"github.com/fairlead/fairlead/services/natagent/internal/backend"
	"github.com/fairlead/fairlead/services/natagent/internal/connections"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/diagnose"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/inside"
	"github.com/fairlead/fairlead/services/natagent/internal/explain"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/forwarding"
	"github.com/fairlead/fairlead/services/natagent/internal/guard"
	"github.com/fairlead/fairlead/services/natagent/internal/hostfirewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport/hold"
	"github.com/fairlead/fairlead/services/natagent/internal/measure"
	"github.com/fairlead/fairlead/services/natagent/internal/publish"
	"github.com/fairlead/fairlead/services/natagent/internal/reconcile"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
	"github.com/fairlead/fairlead/services/natagent/internal/relay"
	"github.com/fairlead/fairlead/services/natagent/internal/store"
)

// Config configures natagent.
type Config struct {
	DataRoot string // directory of nat.db
	ExecRoot string // directory of netagent's socket for files
	Log      *slog.Logger
	State    state.Config // options of the database

	// FirewallBackend is auto, nftables or iptables; empty means auto. Rules of another backend are
	// removed after this one's rules are written.
	FirewallBackend string

	// AcceptMark is the mark, under AcceptMask, of packets to be accepted. Mask 0 means none.
	AcceptMark, AcceptMask uint32

	// PublishBlocked is warn, refuse or allow, for ports that the host firewall blocks. Empty means
	// warn.
	PublishBlocked string

	// DirectRouting permits direct access to published ports for hosts with a route to the
	// container.
	DirectRouting bool

	// NetNS is an open descriptor of the host's network namespace; 0 means the process's own. It
	// must stay open until Close.
	NetNS int
}

// Values of Config.FirewallBackend.
const (
	BackendAuto     = backend.Auto
	BackendNFTables = backend.NFTables
	BackendIPTables = backend.IPTables
)

// Metrics returns the metrics of the service.
func Metrics() []metrics.Family { return measure.Families() }

// Service is natagent. It implements agent/service.Service.
type Service struct {
	*api.Server
	measure.Meter
	ns           hostns.NS
	store        *store.Store
	firewall     *backend.Backend
	publisher    *publish.Publisher
	guard        *guard.Rules
	reconciler   *reconcile.Reconciler
	forwarding   *forwarding.Policies
	input        *hostfirewall.Reader
	hostFirewall *hostfirewall.Checker
	relays       *relay.Relays
	egress       *egress.Enforcer
}

// New opens the state and probes the kernel. It changes nothing.
func New(ctx context.Context, cfg Config) (*Service, error) {
	ns := hostns.At(cfg.NetNS)
	events := nfevents.New(ns)
	fw, err := backend.Open(ctx, ns, backend.Config{Name: cfg.FirewallBackend, Events: events, Log: cfg.Log,
		Accept: firewall.Mark{Value: cfg.AcceptMark, Mask: cfg.AcceptMask}})
	if err != nil {
		return nil, err
	}
	if err := conntrack.Probe(ns); err != nil {
		return nil, errors.Join(err, fw.Close())
	}

	st, err := store.OpenAs(cfg.DataRoot, cfg.State)
	if err != nil {
		return nil, errors.Join(err, fw.Close())
	}

	journal, err := refusals.Open(cfg.DataRoot)
	if err != nil {
		return nil, errors.Join(fault.Wrap(err, fault.Unavailable, "records of refused connections",
			"cannot be opened"),
			fw.Close(), st.Close())
	}

	st.DirectRouting = cfg.DirectRouting
	flows := conntrack.New(ns)
	s := &Service{ns: ns, store: st, firewall: fw,
		reconciler: reconcile.New(st, fw, flows, cfg.Log), input: hostfirewall.New(ns, events, nftables.TableName),
		forwarding: forwarding.New(ns, events, fw, fw.Flavour(), cfg.Log)}
	s.egress = egress.New(ns, st, flows, journal, cfg.Log, namespacesAt(filepath.Join(cfg.ExecRoot, "net-fd.sock")))
	s.relays = relay.New(ns, cfg.Log, egress.RelayPolicy(s.egress))
	s.hostFirewall = hostfirewall.NewChecker(s.input, cfg.Log)
	s.guard = guard.New(st, fw, s.reconciler, s.forwarding, cfg.Log)
	s.publisher = publish.New(st, fw, s.reconciler, flows, hold.New(ns, s.relays), cfg.Log)
	s.publisher.Relay = s.relays.Set

	served := api.Config{Publications: s.publisher, HostFirewall: hostfirewall.NoReview{}, Networks: s.guard,
		Policies: s.egress,
		Connections: connections.New(connections.Config{Reader: conntrack.NewReader(ns), Networks: st.Networks,
			Rules: s.egress.AllowingRules, Local: flows.Local}),
		Explainer: explain.New(ns, st, fw, s.input, s.egress), Checker: s.reconciler,
		Doctor: diagnose.New(ns, fw, fw.Name(), s.reconciler, s.input)}
	switch cfg.PublishBlocked {
	case "refuse":
		s.publisher.CheckAllowed = s.hostFirewall.CheckAllowed
	case "warn", "":
		s.publisher.OnPublished, served.HostFirewall = s.hostFirewall.Enqueue, s.hostFirewall
	}

	s.Server = api.New(served)
	s.Meter = measure.Meter{Publications: st.Publications, Policies: s.egress, Reconciler: s.reconciler,
		Publishes: s.publisher.Times(), Log: cfg.Log, Proc: "/proc/sys/net/netfilter"}
	return s, nil
}

// namespacesAt returns the function that asks netagent for sockets in the namespaces of containers.
func namespacesAt(path string) inside.Opener {
	return func(ctx context.Context, owner string) (*os.File, error) {
		files, err := fdpass.Fetch(ctx, path, fdpass.Request{Kind: "netfilter", Owner: owner})
		if err != nil {
			return nil, err
		}
		if len(files) != 1 {
			return nil, fault.New(fault.Internal, "socket "+path, fmt.Sprintf("passed %d files, want one", len(files)))
		}
		return files[0], nil
	}
}

// Run reconciles the kernel with the store, calls ready, and continues until ctx ends.
func (s *Service) Run(ctx context.Context, ready func()) error {
	wake := notify.NewSignal()

	ctx, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stop()
	watchers.Go(func() { s.forwarding.Watch(ctx, wake.Notify) })
	watchers.Go(func() { s.hostFirewall.Run(ctx) })
	watchers.Go(func() { s.egress.Run(ctx) })
	also := reconcile.Hooks{Locked: s.publisher.RebindPorts, Unlocked: s.syncForwardPolicies, Trigger: wake}
	return s.reconciler.Run(ctx, reconcile.DefaultPace(), also, ready)
}

// syncForwardPolicies updates other firewalls and egress policies, and removes other backends.
func (s *Service) syncForwardPolicies(ctx context.Context) error {
	err := errors.Join(s.guard.AllowAll(ctx), s.egress.Sync(ctx))
	s.firewall.RemoveOthers(ctx)
	return err
}

// Close closes sockets and state. Ports stay published.
func (s *Service) Close() error {
	return errors.Join(s.relays.Close(), s.publisher.Close(), s.forwarding.Close(), s.input.Close(), s.firewall.Close(),
		s.egress.Close(),
		s.store.Close())
}
