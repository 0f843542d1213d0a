// Package publish is what natagent does for the owner of ports: it takes host ports, leads them to a container, and gives
// them back. It puts the rooms for plans, ports, firewall, flows and the store together and knows no kernel interface itself.
package publish

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/natagent/conntrack"
	"github.com/fairlead/fairlead/services/natagent/hostport"
	"github.com/fairlead/fairlead/services/natagent/publication"
)

// Store remembers publications.
type Store interface {
	Publication(owner string) (*publication.Publication, bool)
	Publications() []*publication.Publication
	PutPublication(p *publication.Publication) error
	DeletePublication(owner string) error
	// Led is what the firewall has of a publication.
	Led(p *publication.Publication) []publication.Binding
	// Routed tells whether an address is in a network that is not translated.
	Routed(addr netip.Addr) bool
}

// Firewall translates.
type Firewall interface {
	Publish(ctx context.Context, bindings []publication.Binding) error
	Withdraw(ctx context.Context, bindings []publication.Binding) error
	Exchange(ctx context.Context, gone, fresh []publication.Binding) error
}

// Gate lets one change happen at a time, and mends the firewall from the store.
type Gate interface {
	Begin(ctx context.Context) (end func(), err error)
	Mend(ctx context.Context) error
}

// Flows can be cut.
type Flows interface {
	Cut(ctx context.Context, cuts []conntrack.Cut) error
	Drain(ctx context.Context, addresses []netip.Addr) (open int, err error)
}

// Ports asks the kernel for host ports.
type Ports interface {
	// Hold takes a port until what it answers is closed.
	Hold(proto publication.Protocol, at netip.AddrPort) (io.Closer, error)
	// Dynamic says where dynamic ports come from; with an error, what to use in its place.
	Dynamic() (hostport.Dynamic, error)
	// Process names the process that has a port, if it can be told.
	Process(proto publication.Protocol, at netip.AddrPort) (who string, ok bool)
	// Taken finds a port of a run that a program of the host listens on.
	Taken(proto publication.Protocol, ip netip.Addr, ports hostport.Range) (port uint16, taken bool)
	// IPv6 tells whether the host has IPv6.
	IPv6() bool
}

// Publisher publishes.
type Publisher struct {
	// Told is told of what was newly published, if it is not nil. It must not wait.
	Told func([]publication.Binding)
	// Relay receives the bindings of an owner that must also be answered on IPv6. It can be nil.
	Relay func(owner string, bindings []publication.Binding)
	// Permit may refuse what is to be newly published, if it is not nil.
	Permit func(context.Context, []publication.Binding) error

	store    Store
	firewall Firewall
	gate     Gate
	flows    Flows
	ports    Ports
	log      *slog.Logger

	// Only for those whom the gate has let in.
	ledger *hostport.Ledger
	held   map[string][]held             // by owner
	unheld map[holdKey]publicationOfPort // published before natagent started, and not held again yet

	cutting *cutting
}

// New makes a publisher. Nothing is held before Hold is called.
func New(store Store, fw Firewall, gate Gate, flows Flows, ports Ports, log *slog.Logger) *Publisher {
	p := &Publisher{store: store, firewall: fw, gate: gate, flows: flows, ports: ports, log: log,
		ledger: hostport.NewLedger(), held: map[string][]held{}, unheld: map[holdKey]publicationOfPort{}}
	p.cutting = &cutting{cut: p.cut}
	for _, known := range store.Publications() {
		p.remember(known)
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
	end, err := p.gate.Begin(ctx)
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
func (p *Publisher) plan(want *publication.Publication) ([]publication.Want, error) {
	if !id.Valid(want.Owner) {
		return nil, fault.Invalidf("publication", "owner", "owner %q is not a container's UID of %d hexadecimal digits", want.Owner, id.Len)
	}
	want.Routed4, want.Routed6 = p.store.Routed(want.IPv4), p.store.Routed(want.IPv6)
	return publication.Plan(want, want.IPv6.IsValid() && p.ports.IPv6())
}

func (p *Publisher) publish(ctx context.Context, want *publication.Publication, plan []publication.Want) ([]publication.Binding, error) {
	r, err := p.reserve(want, plan, nil)
	if err != nil {
		return nil, err
	}
	done := *want
	done.Bindings = r.bindings
	publication.Sort(done.Bindings)
	if err := errors.Join(p.permitted(ctx, r.bindings), p.cutting.settle(ctx, p.store.Led(&done))); err != nil {
		return nil, errors.Join(err, r.undo())
	}
	if err := p.store.PutPublication(&done); err != nil {
		return nil, errors.Join(err, r.undo())
	}
	if err := p.lead(ctx, &done); err != nil {
		return nil, errors.Join(err, p.store.DeletePublication(done.Owner), r.undo())
	}
	p.held[done.Owner] = r.held
	p.relay(done.Owner, done.AnyFamily())
	p.cutting.begin(ctx, nil, done.Bindings)
	p.tell(done.Bindings)
	return done.Bindings, nil
}

func (p *Publisher) permitted(ctx context.Context, fresh []publication.Binding) error {
	if p.Permit == nil || len(fresh) == 0 {
		return nil
	}
	return p.Permit(ctx, fresh)
}

func (p *Publisher) relay(owner string, bindings []publication.Binding) {
	if p.Relay != nil {
		p.Relay(owner, bindings)
	}
}

func (p *Publisher) tell(fresh []publication.Binding) {
	if p.Told != nil && len(fresh) > 0 {
		p.Told(fresh)
	}
}

// lead brings bindings that are stored into the firewall. If that fails, they are not in it.
func (p *Publisher) lead(ctx context.Context, done *publication.Publication) error {
	err := p.firewall.Publish(ctx, p.store.Led(done))
	if err == nil || ctx.Err() != nil {
		return err
	}
	p.log.Warn("firewall is not as it should be; reconciling", "error", err)
	return p.gate.Mend(ctx)
}

// cut cuts flows.
func (p *Publisher) cut(ctx context.Context, cuts []conntrack.Cut) {
	if err := p.flows.Cut(ctx, cuts); err != nil {
		p.log.Warn("flows that go where ports have led before were not cut", "error", err)
	}
}

// Release withdraws all that an owner has published. The flows that used it are cut right behind the answer.
func (p *Publisher) Release(ctx context.Context, owner string) error {
	if !id.Valid(owner) {
		return fault.Invalidf("publication", "owner", "owner %q is not a container's UID of %d hexadecimal digits", owner, id.Len)
	}
	end, err := p.gate.Begin(ctx)
	if err != nil {
		return err
	}
	gone, err := p.release(ctx, owner)
	end()
	if err != nil || gone == nil {
		return err
	}
	p.cutting.begin(ctx, p.store.Led(gone), nil)
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
	if err := p.firewall.Withdraw(ctx, p.store.Led(gone)); err != nil {
		p.log.Warn("firewall is not as it should be; reconciling", "error", err)
		if err := p.gate.Mend(ctx); err != nil {
			return nil, errors.Join(err, p.store.PutPublication(gone)) // to be asked for again
		}
	}
	return gone, p.letGo(gone)
}

// DrainFlows waits until no connection from or to addresses is open any more, or ctx ends, and answers how many still are.
func (p *Publisher) DrainFlows(ctx context.Context, addresses []netip.Addr) (open int, err error) {
	return p.flows.Drain(ctx, addresses)
}

// CutFlows cuts all flows from and to addresses that no container has any more.
func (p *Publisher) CutFlows(ctx context.Context, addresses []netip.Addr) error {
	return p.flows.Cut(ctx, conntrack.Ended(addresses))
}

func nameOf(p *publication.Publication) string {
	if p.OwnerName != "" {
		return p.OwnerName
	}
	return id.Short(p.Owner)
}
