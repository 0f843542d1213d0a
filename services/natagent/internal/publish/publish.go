// Package publish is what natagent does for the owner of ports: it takes host ports, leads them to a container, and gives
// them back. It puts the rooms for plans, ports, firewall, flows and the store together and knows no kernel interface itself.
package publish

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Store remembers publications.
type Store interface {
	Publication(owner string) (*publication.Publication, bool)
	Publications() []*publication.Publication
	PutPublication(p *publication.Publication) error
	DeletePublication(owner string) error
	// FirewallBindings is what the firewall has of a publication.
	FirewallBindings(p *publication.Publication) []publication.Binding
	// IsRouted tells whether an address is in a network that is not translated.
	IsRouted(addr netip.Addr) bool
}

// Firewall translates.
type Firewall interface {
	AddBindings(ctx context.Context, bindings []publication.Binding) error
	RemoveBindings(ctx context.Context, bindings []publication.Binding) error
	ReplaceBindings(ctx context.Context, gone, fresh []publication.Binding) error
}

// ChangeLock lets one change happen at a time, and mends the firewall from the store.
type ChangeLock interface {
	Lock(ctx context.Context) (end func(), err error)
	Repair(ctx context.Context) error
}

// Conntrack can be cut.
type Conntrack interface {
	Delete(ctx context.Context, cuts []conntrack.Selector) error
	Drain(ctx context.Context, addresses []netip.Addr) (open int, err error)
}

// Ports asks the kernel for host ports.
type Ports interface {
	// Bind takes a port until what it answers is closed.
	Bind(proto publication.Protocol, at netip.AddrPort) (io.Closer, error)
	// Dynamic says where dynamic ports come from; with an error, what to use in its place.
	Dynamic() (hostport.EphemeralPorts, error)
	// Process names the process that has a port, if it can be told.
	Process(proto publication.Protocol, at netip.AddrPort) (who string, ok bool)
	// InUse finds a port of a run that a program of the host listens on.
	InUse(proto publication.Protocol, ip netip.Addr, ports hostport.Range) (port uint16, taken bool)
	// IPv6 tells whether the host has IPv6.
	IPv6() bool
}

// Publisher publishes.
type Publisher struct {
	// OnPublished is told of what was newly published, if it is not nil. It must not wait.
	OnPublished func([]publication.Binding)
	// Relay receives the bindings of an owner that must also be answered on IPv6. It can be nil.
	Relay func(owner string, bindings []publication.Binding)
	// CheckAllowed may refuse what is to be newly published, if it is not nil.
	CheckAllowed func(context.Context, []publication.Binding) error

	store    Store
	firewall Firewall
	gate     ChangeLock
	flows    Conntrack
	ports    Ports
	log      *slog.Logger

	// Only for those whom the gate has let in.
	ledger *hostport.Allocator
	held   map[string][]held     // by owner
	unheld map[holdKey]portOwner // published before natagent started, and not held again yet

	cutting *cutting
}

// New makes a publisher. Nothing is held before Hold is called.
func New(store Store, fw Firewall, gate ChangeLock, flows Conntrack, ports Ports, log *slog.Logger) *Publisher {
	p := &Publisher{store: store, firewall: fw, gate: gate, flows: flows, ports: ports, log: log,
		ledger: hostport.NewLedger(), held: map[string][]held{}, unheld: map[holdKey]portOwner{}}
	p.cutting = &cutting{cut: p.cut}
	for _, known := range store.Publications() {
		p.loadPublished(known)
	}
	return p
}

// Close waits for flows that are being cut and lets go of the host ports. What is published stays so.
func (p *Publisher) Close() error {
	p.cutting.finish()
	var errs []error
	for _, ports := range p.held {
		for _, h := range ports {
			errs = append(errs, h.port.Close())
		}
	}
	return errors.Join(errs...)
}

// List answers all publications, by owner.
func (p *Publisher) List(context.Context) ([]*publication.Publication, error) {
	return p.store.Publications(), nil
}

// Publish leads host ports to a container, all that are asked for or none.
func (p *Publisher) Publish(ctx context.Context, want *publication.Publication) ([]publication.Binding, error) {
	plan, err := p.plan(want)
	if err != nil {
		return nil, err
	}
	end, err := p.gate.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if have, ok := p.store.Publication(want.Owner); ok {
		if have.Same(want) {
			return have.Bindings, nil
		}
		return nil, fault.New(fault.Exists, "container "+nameOf(want), "has published other ports already",
			fault.WithHint("release them first"))
	}
	if len(plan) == 0 {
		return nil, nil
	}
	return p.publish(ctx, want, plan)
}

// plan checks what an owner asks for.
func (p *Publisher) plan(want *publication.Publication) ([]publication.PortRequest, error) {
	if !id.Valid(want.Owner) {
		return nil, fault.Invalidf("publication", "owner", "owner %q is not a container's UID of %d hexadecimal digits", want.Owner, id.Len)
	}
	want.Routed4, want.Routed6 = p.store.IsRouted(want.IPv4), p.store.IsRouted(want.IPv6)
	return publication.Resolve(want, want.IPv6.IsValid() && p.ports.IPv6())
}

func (p *Publisher) publish(ctx context.Context, want *publication.Publication, plan []publication.PortRequest) ([]publication.Binding, error) {
	r, err := p.reserve(want, plan, nil)
	if err != nil {
		return nil, err
	}
	done := *want
	done.Bindings = r.bindings
	publication.Sort(done.Bindings)
	if err := errors.Join(p.permitted(ctx, r.bindings), p.cutting.settle(ctx, p.store.FirewallBindings(&done))); err != nil {
		return nil, errors.Join(err, r.undo())
	}
	if err := p.store.PutPublication(&done); err != nil {
		return nil, errors.Join(err, r.undo())
	}
	if err := p.installRules(ctx, &done); err != nil {
		return nil, errors.Join(err, p.store.DeletePublication(done.Owner), r.undo())
	}
	p.held[done.Owner] = r.held
	p.relay(done.Owner, done.AnyFamily())
	p.cutting.begin(ctx, nil, done.Bindings)
	p.notifyPublished(done.Bindings)
	return done.Bindings, nil
}

func (p *Publisher) permitted(ctx context.Context, fresh []publication.Binding) error {
	if p.CheckAllowed == nil || len(fresh) == 0 {
		return nil
	}
	return p.CheckAllowed(ctx, fresh)
}

func (p *Publisher) relay(owner string, bindings []publication.Binding) {
	if p.Relay != nil {
		p.Relay(owner, bindings)
	}
}

func (p *Publisher) notifyPublished(fresh []publication.Binding) {
	if p.OnPublished != nil && len(fresh) > 0 {
		p.OnPublished(fresh)
	}
}

// installRules brings bindings that are stored into the firewall. If that fails, they are not in it.
func (p *Publisher) installRules(ctx context.Context, done *publication.Publication) error {
	err := p.firewall.AddBindings(ctx, p.store.FirewallBindings(done))
	if err == nil || ctx.Err() != nil {
		return err
	}
	p.log.Warn("firewall is not as it should be; reconciling", "error", err)
	return p.gate.Repair(ctx)
}

// cut cuts flows.
func (p *Publisher) cut(ctx context.Context, cuts []conntrack.Selector) {
	if err := p.flows.Delete(ctx, cuts); err != nil {
		p.log.Warn("flows that go where ports have led before were not cut", "error", err)
	}
}

// Release withdraws all that an owner has published. The flows that used it are cut right behind the answer.
func (p *Publisher) Release(ctx context.Context, owner string) error {
	if !id.Valid(owner) {
		return fault.Invalidf("publication", "owner", "owner %q is not a container's UID of %d hexadecimal digits", owner, id.Len)
	}
	end, err := p.gate.Lock(ctx)
	if err != nil {
		return err
	}
	gone, err := p.release(ctx, owner)
	end()
	if err != nil || gone == nil {
		return err
	}
	p.cutting.begin(ctx, p.store.FirewallBindings(gone), nil)
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
	ctx = context.WithoutCancel(ctx) // half a release helps nobody
	if err := p.firewall.RemoveBindings(ctx, p.store.FirewallBindings(gone)); err != nil {
		p.log.Warn("firewall is not as it should be; reconciling", "error", err)
		if err := p.gate.Repair(ctx); err != nil {
			return nil, errors.Join(err, p.store.PutPublication(gone)) // to be asked for again
		}
	}
	return gone, p.closePorts(gone)
}

// DrainConnections waits until no connection from or to addresses is open any more, or ctx ends, and answers how many still are.
func (p *Publisher) DrainConnections(ctx context.Context, addresses []netip.Addr) (open int, err error) {
	return p.flows.Drain(ctx, addresses)
}

// DeleteConntrack cuts all flows from and to addresses that no container has any more.
func (p *Publisher) DeleteConntrack(ctx context.Context, addresses []netip.Addr) error {
	return p.flows.Delete(ctx, conntrack.ForAddresses(addresses))
}

func nameOf(p *publication.Publication) string {
	if p.OwnerName != "" {
		return p.OwnerName
	}
	return id.Short(p.Owner)
}
