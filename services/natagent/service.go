// Package natagent serves published ports, address translation and the guards around them. Everything in nf_tables or
// iptables that is Fairlead's is natagent's, and what it has put into the kernel goes on working when it ends.
//
// It needs CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, and CAP_NET_RAW only where it has to run iptables. It knows no links, no
// namespaces of containers and no processes. The rooms: api speaks gRPC; publish and guard do what is asked; publication and
// hostport are the domain; firewall, conntrack, hostport/hold, portowner and forwardpolicy are the doors to the kernel; store
// remembers, and reconcile keeps the kernel as the store says.
package natagent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"

	"github.com/fairlead/fairlead/services/natagent/api"
	"github.com/fairlead/fairlead/services/natagent/conntrack"
	"github.com/fairlead/fairlead/services/natagent/diagnose"
	"github.com/fairlead/fairlead/services/natagent/forwardpolicy"
	"github.com/fairlead/fairlead/services/natagent/guard"
	"github.com/fairlead/fairlead/services/natagent/hostns"
	"github.com/fairlead/fairlead/services/natagent/hostport"
	"github.com/fairlead/fairlead/services/natagent/hostport/hold"
	"github.com/fairlead/fairlead/services/natagent/portowner"
	"github.com/fairlead/fairlead/services/natagent/publication"
	"github.com/fairlead/fairlead/services/natagent/publish"
	"github.com/fairlead/fairlead/services/natagent/reconcile"
	"github.com/fairlead/fairlead/services/natagent/store"
)

// Config is what natagent must be told.
type Config struct {
	DataRoot string // holds nat.db
	ExecRoot string // not used: natagent keeps nothing that a restart of the machine ends
	Log      *slog.Logger

	// FirewallBackend is auto, nftables or iptables; empty is auto. What another backend has put into the kernel is taken
	// out once the rules of this one are in.
	FirewallBackend string

	// NetNS is an open descriptor of the host's network namespace; 0 means that of the process. It must stay open until
	// Close.
	NetNS int
}

// Service is natagent. It implements agent/service.Service.
type Service struct {
	*api.Server
	store      *store.Store
	firewall   *backend
	publisher  *publish.Publisher
	guard      *guard.Guard
	reconciler *reconcile.Reconciler
}

// New opens the state and tries out the kernel. It changes nothing.
func New(ctx context.Context, cfg Config) (*Service, error) {
	ns := hostns.At(cfg.NetNS)
	fw, err := openBackend(ctx, ns, cfg)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(cfg.DataRoot)
	if err != nil {
		return nil, errors.Join(err, fw.Close())
	}
	flows := conntrack.New(ns)
	r := reconcile.New(st, fw, flows, cfg.Log)
	s := &Service{
		store: st, firewall: fw, reconciler: r,
		publisher: publish.New(st, fw, r, flows, ports{hold.New(ns), ns}, cfg.Log),
		guard:     guard.New(st, fw, r, forwardpolicy.New(ns, fw, fw.flavour, cfg.Log), cfg.Log),
	}
	s.Server = api.New(s.publisher, s.guard, diagnose.New(ns, fw, fw.name()))
	return s, nil
}

// Run makes the kernel be as the store says, the guards first of all, calls ready, and keeps it so until ctx ends.
func (s *Service) Run(ctx context.Context, ready func()) error {
	also := reconcile.Also{InTurn: s.publisher.Hold, Aside: s.aside}
	return s.reconciler.Run(ctx, reconcile.DefaultPace(), also, ready)
}

// aside deals with other firewalls of the host.
func (s *Service) aside(ctx context.Context) error {
	err := s.guard.AllowAll(ctx)
	s.firewall.standAlone(ctx)
	return err
}

// Close lets go of host ports, sockets and state. What is published stays published.
func (s *Service) Close() error {
	return errors.Join(s.publisher.Close(), s.firewall.Close(), s.store.Close())
}

// ports joins what publish needs to know of host ports.
type ports struct {
	*hold.Holder
	ns hostns.NS
}

// Hold takes a port.
func (p ports) Hold(proto publication.Protocol, at netip.AddrPort) (io.Closer, error) {
	port, err := p.Holder.Hold(proto, at)
	if err != nil {
		return nil, err // a nil *hold.Port in an interface would not be nil
	}
	return port, nil
}

// Taken finds a port that a program of the host has.
func (p ports) Taken(proto publication.Protocol, ip netip.Addr, r hostport.Range) (uint16, bool) {
	return portowner.InRange(p.ns, proto, ip, r.First, r.Last)
}

// Process names the process that has a port.
func (p ports) Process(proto publication.Protocol, at netip.AddrPort) (string, bool) {
	who, ok := portowner.Find(p.ns, proto, at)
	return who.String(), ok
}
