// Package natagent serves published ports, address translation and the guards around them. Everything in nf_tables or
// iptables that is Fairlead's is natagent's, and what it has put into the kernel goes on working when it ends.
//
// It needs CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, and CAP_NET_RAW only where it has to run iptables. It knows no links, no
// namespaces of containers and no processes. The rooms: api speaks gRPC; publish and guard do what is asked; publication and
// hostport are the domain; firewall, conntrack, hostport/hold, portowner, forwardpolicy and firewalld are the doors to the host; store
// remembers, and reconcile keeps the kernel as the store says.
package natagent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"syscall"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/natagent/internal/api"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/diagnose"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewalld"
	"github.com/fairlead/fairlead/services/natagent/internal/forwardpolicy"
	"github.com/fairlead/fairlead/services/natagent/internal/guard"
	"github.com/fairlead/fairlead/services/natagent/internal/hostfirewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport/portsocket"
	"github.com/fairlead/fairlead/services/natagent/internal/portowner"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
	"github.com/fairlead/fairlead/services/natagent/internal/publish"
	"github.com/fairlead/fairlead/services/natagent/internal/reconcile"
	"github.com/fairlead/fairlead/services/natagent/internal/relay"
	"github.com/fairlead/fairlead/services/natagent/internal/store"
)

// Config is what natagent must be told.
type Config struct {
	DataRoot string // holds nat.db
	ExecRoot string // not used: natagent keeps nothing that a restart of the machine ends
	Log      *slog.Logger
	State    state.Config // how the store is opened

	// FirewallBackend is auto, nftables or iptables; empty is auto. What another backend has put into the kernel is taken
	// out once the rules of this one are in.
	FirewallBackend string

	// AcceptMark is what others mark packets with that shall pass between containers and others, under AcceptMask, which is 0 if none shall.
	AcceptMark, AcceptMask uint32

	// PublishBlocked is warn, refuse or allow: what to do when a port is published at which the host's own firewall is closed. Empty is
	// warn.
	PublishBlocked string

	// DirectRouting lets machines that have a route to a container reach its published ports at its own address, too.
	DirectRouting bool

	// NetNS is an open descriptor of the host's network namespace; 0 means that of the process. It must stay open until
	// Close.
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

// New opens the state and tries out the kernel. It changes nothing.
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
		ns:     ns, store: st, firewall: fw, reconciler: r, zones: zones, policy: policy, input: input, hostFirewall: hostfirewall.NewTeller(input, cfg.Log),
		publisher: publish.New(st, fw, r, flows, ports{portsocket.New(ns), ns, relays}, cfg.Log),
		guard:     guard.New(st, fw, r, forwardPolicies{policy, zones}, cfg.Log),
	}
	s.Server = api.New(s.publisher, s.guard, diagnose.New(ns, fw, fw.name(), r, input), explainer{ns, st, fw, input})
	s.Server.Comparer = s.check
	s.publisher.Relay = relays.Set
	switch cfg.PublishBlocked {
	case "refuse":
		s.publisher.CheckAllowed = s.hostFirewall.CheckAllowed
	case "warn", "":
		s.publisher.OnPublished, s.Reviewer = s.hostFirewall.Enqueue, s.hostFirewall
	}
	return s, nil
}

// Run makes the kernel be as the store says, the guards first of all, calls ready, and keeps it so until ctx ends.
func (s *Service) Run(ctx context.Context, ready func()) error {
	wake := make(chan struct{}, 1)
	nudge := func() {
		select {
		case wake <- struct{}{}:
		default: // one is waiting to be read already
		}
	}
	ctx, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stop()
	watchers.Go(func() { s.zones.Watch(ctx, nudge) })
	watchers.Go(func() { s.policy.Watch(ctx, nudge) })
	watchers.Go(func() { s.hostFirewall.Run(ctx) })
	also := reconcile.Hooks{Locked: s.publisher.RebindPorts, Unlocked: s.syncForwardPolicies, Trigger: wake}
	return s.reconciler.Run(ctx, reconcile.DefaultPace(), also, ready)
}

// syncForwardPolicies deals with other firewalls of the host.
func (s *Service) syncForwardPolicies(ctx context.Context) error {
	err := s.guard.AllowAll(ctx)
	s.firewall.removeOtherBackends(ctx)
	return err
}

// Close lets go of host ports, sockets and state. What is published stays published.
func (s *Service) Close() error {
	return errors.Join(s.relays.Close(), s.publisher.Close(), s.zones.Close(), s.input.Close(), s.firewall.Close(), s.store.Close())
}

// forwardPolicies are the ways to get bridges past other firewalls of the host.
type forwardPolicies []guard.ForwardPolicy

// Allow asks each.
func (o forwardPolicies) Allow(ctx context.Context, bridges ...string) (err error) {
	for _, f := range o {
		err = errors.Join(err, f.Allow(ctx, bridges...))
	}
	return err
}

// Forget asks each.
func (o forwardPolicies) Forget(ctx context.Context, bridges ...string) (err error) {
	for _, f := range o {
		err = errors.Join(err, f.Forget(ctx, bridges...))
	}
	return err
}

// ports joins what publish needs to know of host ports.
type ports struct {
	*portsocket.Binder
	ns     hostns.NS
	relays *relay.Relays
}

// Bind takes a port, from a relay too.
func (p ports) Bind(proto publication.Protocol, at netip.AddrPort) (io.Closer, error) {
	port, err := p.Binder.Bind(proto, at)
	if errors.Is(err, syscall.EADDRINUSE) && proto == publication.TCP && at.Addr().Is6() && p.relays.Yield(at.Port()) {
		port, err = p.Binder.Bind(proto, at)
	}
	if err != nil {
		return nil, err // a nil *hold.Port in an interface would not be nil
	}
	return port, nil
}

// InUse finds a port that a program of the host has.
func (p ports) InUse(proto publication.Protocol, ip netip.Addr, r hostport.Range) (uint16, bool) {
	return portowner.InRange(p.ns, proto, ip, r.First, r.Last)
}

// Process names the process that has a port.
func (p ports) Process(proto publication.Protocol, at netip.AddrPort) (string, bool) {
	who, ok := portowner.Find(p.ns, proto, at)
	return who.String(), ok
}
