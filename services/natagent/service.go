// Package natagent implements the service for published ports, NAT and network isolation. It owns
// all nf_tables and iptables rules of Fairlead, except those of netagent's port guard. The rules
// stay in effect when it exits.
//
// It needs CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, and CAP_NET_RAW to run iptables. It does not manage
// links, container namespaces or processes.
//
// Packages: api implements gRPC; publish and guard execute requests; publication and hostport hold
// the domain logic; firewall, conntrack, portsocket, portowner, forwardpolicy and firewalld access
// the host; store holds the state; reconcile applies it.
package natagent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"syscall"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/api"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/diagnose"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewalld"
	"github.com/fairlead/fairlead/services/natagent/internal/forwardpolicy"
	"github.com/fairlead/fairlead/services/natagent/internal/guard"
	"github.com/fairlead/fairlead/services/natagent/internal/hostfirewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport/portsocket"
	"github.com/fairlead/fairlead/services/natagent/internal/portowner"
	"github.com/fairlead/fairlead/services/natagent/internal/publish"
	"github.com/fairlead/fairlead/services/natagent/internal/reconcile"
	"github.com/fairlead/fairlead/services/natagent/internal/relay"
	"github.com/fairlead/fairlead/services/natagent/internal/store"
)

// Config configures natagent.
type Config struct {
	DataRoot string // directory of nat.db
	ExecRoot string // unused: natagent has no volatile state
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

// Service is natagent. It implements agent/service.Service.
type Service struct {
	*api.Server
	ns           hostns.NS
	store        *store.Store
	firewall     *backend
	publisher    *publish.Publisher
	guard        *guard.Rules
	reconciler   *reconcile.Reconciler
	zones        *firewalld.Client
	policy       *forwardpolicy.Policy
	input        *hostfirewall.Reader
	hostFirewall *hostfirewall.Checker
	relays       *relay.Relays
}

// New opens the state and probes the kernel. It changes nothing.
func New(ctx context.Context, cfg Config) (*Service, error) {
	ns := hostns.At(cfg.NetNS)
	fw, err := openBackend(ctx, ns, cfg)
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

	st.DirectRouting = cfg.DirectRouting
	flows := conntrack.New(ns)
	r := reconcile.New(st, fw, flows, cfg.Log)
	zones, policy := firewalld.New(ns, fw, cfg.Log), forwardpolicy.New(ns, fw, fw.flavour, cfg.Log)
	input := hostfirewall.New(ns, nftables.TableName)
	relays := relay.New(ns, cfg.Log)
	s := &Service{
		relays: relays,
		ns:     ns, store: st, firewall: fw, reconciler: r, zones: zones, policy: policy, input: input,
		hostFirewall: hostfirewall.NewTeller(input, cfg.Log),
		publisher:    publish.New(st, fw, r, flows, ports{portsocket.New(ns), ns, relays}, cfg.Log),
		guard:        guard.New(st, fw, r, forwardPolicies{policy, zones}, cfg.Log),
	}

	served := api.Config{Publications: s.publisher, HostFirewall: hostfirewall.NoReview{},
		Explainer: explainer{ns, st, fw, input}, Networks: s.guard,
		Doctor: diagnose.New(ns, fw, fw.name(), r, input), Checker: r}
	s.publisher.Relay = relays.Set
	switch cfg.PublishBlocked {
	case "refuse":
		s.publisher.CheckAllowed = s.hostFirewall.CheckAllowed
	case "warn", "":
		s.publisher.OnPublished, served.HostFirewall = s.hostFirewall.Enqueue, s.hostFirewall
	}

	s.Server = api.New(served)

	return s, nil
}

// Run reconciles the kernel with the store, calls ready, and continues until ctx ends.
func (s *Service) Run(ctx context.Context, ready func()) error {
	wake := notify.NewSignal()

	ctx, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stop()
	watchers.Go(func() { s.zones.Watch(ctx, wake.Notify) })
	watchers.Go(func() { s.policy.Watch(ctx, wake.Notify) })
	watchers.Go(func() { s.hostFirewall.Run(ctx) })
	also := reconcile.Hooks{Locked: s.publisher.RebindPorts, Unlocked: s.syncForwardPolicies, Trigger: wake}
	return s.reconciler.Run(ctx, reconcile.DefaultPace(), also, ready)
}

// syncForwardPolicies updates other firewalls and removes other backends.
func (s *Service) syncForwardPolicies(ctx context.Context) error {
	err := s.guard.AllowAll(ctx)
	s.firewall.removeOtherBackends(ctx)
	return err
}

// Close closes sockets and state. Ports stay published.
func (s *Service) Close() error {
	return errors.Join(s.relays.Close(), s.publisher.Close(), s.zones.Close(), s.input.Close(), s.firewall.Close(),
		s.store.Close())
}

// forwardPolicies combines several policies.
type forwardPolicies []guard.ForwardPolicy

// Allow calls Allow of each policy.
func (o forwardPolicies) Allow(ctx context.Context, bridges ...string) (err error) {
	for _, f := range o {
		err = errors.Join(err, f.Allow(ctx, bridges...))
	}
	return err
}

// Forget calls Forget of each policy.
func (o forwardPolicies) Forget(ctx context.Context, bridges ...string) (err error) {
	for _, f := range o {
		err = errors.Join(err, f.Forget(ctx, bridges...))
	}
	return err
}

// ports implements publish.Ports.
type ports struct {
	*portsocket.Binder
	ns     hostns.NS
	relays *relay.Relays
}

// Bind binds a port, and closes a relay that has it.
func (p ports) Bind(proto port.Protocol, at netip.AddrPort) (io.Closer, error) {
	socket, err := p.Binder.Bind(proto, at)
	if errors.Is(err, syscall.EADDRINUSE) && proto == port.TCP && at.Addr().Is6() && p.relays.Yield(at.Port()) {
		socket, err = p.Binder.Bind(proto, at)
	}
	if err != nil {
		return nil, err // a nil *portsocket.Port in an interface would not be nil
	}
	return socket, nil
}

// InUse returns a port of the range that another process listens on.
func (p ports) InUse(proto port.Protocol, ip netip.Addr, r port.Range) (uint16, bool) {
	return portowner.InRange(p.ns, proto, ip, r.First, r.Last)
}

// Process returns the process that uses a port.
func (p ports) Process(proto port.Protocol, at netip.AddrPort) (string, bool) {
	who, ok := portowner.Find(p.ns, proto, at)
	return who.String(), ok
}
