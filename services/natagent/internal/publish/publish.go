// Package publish publishes and releases the ports of containers: it allocates host ports, updates
// the firewall and the store, and deletes stale conntrack entries.
//
// It uses kernel interfaces only through the interfaces below. Package api calls it.
package publish

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Store holds the publications.
type Store interface {
	Publication(owner string) (*publication.Publication, bool)
	Publications() []*publication.Publication
	PutPublication(p *publication.Publication) error
	DeletePublication(owner string) error
	// FirewallBindings returns the bindings of p as the firewall has them.
	FirewallBindings(p *publication.Publication) []port.Binding
	// IsRouted reports whether addr belongs to a routed network.
	IsRouted(addr netip.Addr) bool
}

// Firewall holds the DNAT rules of the bindings.
type Firewall interface {
	AddBindings(ctx context.Context, bindings []port.Binding) error
	RemoveBindings(ctx context.Context, bindings []port.Binding) error
	ReplaceBindings(ctx context.Context, gone, fresh []port.Binding) error
}

// ChangeLock serializes changes and reconciles the firewall with the store.
type ChangeLock interface {
	Lock(ctx context.Context) (end func(), err error)
	Repair(ctx context.Context) error
}

// Conntrack deletes conntrack entries and waits for connections.
type Conntrack interface {
	Delete(ctx context.Context, cuts []conntrack.Selector) error
	Drain(ctx context.Context, addresses []netip.Addr) (open int, err error)
}

// Ports binds host ports and inspects their use.
type Ports interface {
	// Bind reserves a port until the result is closed.
	Bind(proto port.Protocol, at netip.AddrPort) (io.Closer, error)
	// Dynamic returns the ephemeral port range. With an error, it returns the default range.
	Dynamic() (hostport.EphemeralPorts, error)
	// Process returns the process that uses a port; ok is false if it cannot be found.
	Process(proto port.Protocol, at netip.AddrPort) (who string, ok bool)
	// InUse returns a port of the range that another process listens on.
	InUse(proto port.Protocol, ip netip.Addr, ports port.Range) (port uint16, taken bool)
	// IPv6 reports whether the host supports IPv6.
	IPv6() bool
}

// Publisher publishes and releases the ports of containers. It is safe for concurrent use.
type Publisher struct {
	// OnPublished receives newly published bindings. It must not block. It can be nil.
	OnPublished func([]port.Binding)
	// Relay receives the bindings of an owner that must also accept connections on IPv6. It can be
	// nil.
	Relay func(owner string, bindings []port.Binding)
	// CheckAllowed can reject new bindings. It can be nil.
	CheckAllowed func(context.Context, []port.Binding) error

	store    Store
	firewall Firewall
	changes  ChangeLock
	flows    Conntrack
	ports    Ports
	log      *slog.Logger

	// The change lock must be held.
	allocator *hostport.Allocator
	held      map[string][]held     // by owner
	unheld    map[holdKey]portOwner // stored, but without a port socket

	deleter *deleter
	times   metrics.Times // of publications, by outcome
}

// Times returns the durations of publications, by outcome.
func (p *Publisher) Times() *metrics.Times { return &p.times }

// New returns a publisher. It binds no port before RebindPorts is called.
func New(store Store, fw Firewall, changes ChangeLock, flows Conntrack, ports Ports, log *slog.Logger) *Publisher {
	p := &Publisher{store: store, firewall: fw, changes: changes, flows: flows, ports: ports, log: log,
		allocator: hostport.NewAllocator(), held: map[string][]held{}, unheld: map[holdKey]portOwner{}}
	p.deleter = &deleter{cut: p.cut}
	for _, known := range store.Publications() {
		p.loadPublished(known)
	}
	return p
}

// Close deletes pending conntrack entries and closes the port sockets. Ports stay published.
func (p *Publisher) Close() error {
	p.deleter.finish()
	var errs []error
	for _, ports := range p.held {
		for _, h := range ports {
			errs = append(errs, h.port.Close())
		}
	}
	return errors.Join(errs...)
}

// List returns all publications, sorted by owner.
func (p *Publisher) List(context.Context) ([]*publication.Publication, error) {
	return p.store.Publications(), nil
}

// Publish publishes all requested ports and addresses of an owner, or none.
func (p *Publisher) Publish(ctx context.Context, want *publication.Publication) (out []port.Binding, err error) {
	begun := time.Now()
	defer func() { p.times.Add(time.Since(begun), metrics.Outcome(err)) }()
	plan, err := p.plan(want)
	if err != nil {
		return nil, err
	}

	end, err := p.changes.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if have, ok := p.store.Publication(want.Owner); ok {
		if have.Same(want) {
			return have.Bindings, nil
		}
		return nil, fault.New(fault.Exists, "container "+nameOf(want), "already has a different publication",
			fault.WithHint("release them first"))
	}

	if len(plan) == 0 {
		return nil, nil
	}

	return p.publish(ctx, want, plan)
}

// plan validates and resolves the requests of an owner.
func (p *Publisher) plan(want *publication.Publication) ([]publication.PortRequest, error) {
	if !id.Valid(want.Owner) {
		return nil, fault.Invalidf("publication", "owner", "%q is not a container ID of %d hexadecimal digits",
			want.Owner, id.Len)
	}
	want.Routed4, want.Routed6 = p.store.IsRouted(want.IPv4), p.store.IsRouted(want.IPv6)
	return publication.Resolve(want, want.IPv6.IsValid() && p.ports.IPv6())
}

func (p *Publisher) publish(ctx context.Context, want *publication.Publication,
	plan []publication.PortRequest) ([]port.Binding, error) {
	r, err := p.reserve(want, plan, nil)
	if err != nil {
		return nil, err
	}

	done := *want
	done.Bindings = r.bindings
	port.Sort(done.Bindings)
	if err := errors.Join(p.permitted(ctx, r.bindings),
		p.deleter.awaitConflicting(ctx, p.store.FirewallBindings(&done))); err != nil {
		return nil, errors.Join(err, r.undo())
	}

	put := func(context.Context) error { return p.store.PutPublication(&done) }
	if err := tracing.Run(ctx, "store publication", put); err != nil {
		return nil, errors.Join(err, r.undo())
	}
	install := func(ctx context.Context) error { return p.installRules(ctx, &done) }
	if err := tracing.Run(ctx, "write firewall rules", install); err != nil {
		return nil, errors.Join(err, p.store.DeletePublication(done.Owner), r.undo())
	}

	p.held[done.Owner] = r.held
	p.relay(done.Owner, done.AnyFamily())
	p.deleter.begin(ctx, nil, done.Bindings)
	p.notifyPublished(done.Bindings)
	return done.Bindings, nil
}

func (p *Publisher) permitted(ctx context.Context, fresh []port.Binding) error {
	if p.CheckAllowed == nil || len(fresh) == 0 {
		return nil
	}
	return p.CheckAllowed(ctx, fresh)
}

func (p *Publisher) relay(owner string, bindings []port.Binding) {
	if p.Relay != nil {
		p.Relay(owner, bindings)
	}
}

func (p *Publisher) notifyPublished(fresh []port.Binding) {
	if p.OnPublished != nil && len(fresh) > 0 {
		p.OnPublished(fresh)
	}
}

// installRules adds stored bindings to the firewall. On error they are not in the firewall.
func (p *Publisher) installRules(ctx context.Context, done *publication.Publication) error {
	err := p.firewall.AddBindings(ctx, p.store.FirewallBindings(done))
	if err == nil || ctx.Err() != nil {
		return err
	}
	p.log.Warn("firewall out of sync, reconciling", "error", err)
	return p.changes.Repair(ctx)
}

// cut deletes conntrack entries.
func (p *Publisher) cut(ctx context.Context, cuts []conntrack.Selector) {
	if err := p.flows.Delete(ctx, cuts); err != nil {
		p.log.Warn("stale conntrack entries not deleted", "error", err)
	}
}

// Release withdraws all bindings of an owner. Conntrack entries are deleted shortly afterwards.
func (p *Publisher) Release(ctx context.Context, owner string) error {
	if !id.Valid(owner) {
		return fault.Invalidf("publication", "owner", "%q is not a container ID of %d hexadecimal digits", owner,
			id.Len)
	}

	end, err := p.changes.Lock(ctx)
	if err != nil {
		return err
	}

	gone, err := p.release(ctx, owner)
	end()
	if err != nil || gone == nil {
		return err
	}

	p.deleter.begin(ctx, p.store.FirewallBindings(gone), nil)
	return nil
}

func (p *Publisher) release(ctx context.Context, owner string) (*publication.Publication, error) {
	gone, ok := p.store.Publication(owner)
	if !ok {
		return nil, nil
	}
	if err := p.store.DeletePublication(owner); err != nil {
		return nil, err
	}

	ctx = context.WithoutCancel(ctx) // a release must not stop halfway
	if err := p.firewall.RemoveBindings(ctx, p.store.FirewallBindings(gone)); err != nil {
		p.log.Warn("firewall out of sync, reconciling", "error", err)
		if err := p.changes.Repair(ctx); err != nil {
			return nil, errors.Join(err, p.store.PutPublication(gone)) // so that the caller can retry
		}
	}

	return gone, p.closePorts(gone)
}

// DrainConnections waits until no connection uses the addresses, or the timeout expires. It returns
// the number of open ones.
func (p *Publisher) DrainConnections(ctx context.Context, addresses []netip.Addr,
	timeout time.Duration) (open int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return p.flows.Drain(ctx, addresses)
}

// DeleteConntrack deletes all conntrack entries of addresses that no container uses anymore.
func (p *Publisher) DeleteConntrack(ctx context.Context, addresses []netip.Addr) error {
	return p.flows.Delete(ctx, conntrack.ForAddresses(addresses))
}

func nameOf(p *publication.Publication) string {
	if p.OwnerName != "" {
		return p.OwnerName
	}
	return id.Short(p.Owner)
}
