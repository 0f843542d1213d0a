package publish

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Update replaces the publication of an owner in one step. Unchanged bindings keep their
// connections, changed ones are never closed in between, and on error the former publication stays.
// With keepOpen, TCP and SCTP connections to former targets stay, too. UDP clients would not notice
// the change, so their entries are deleted.
func (p *Publisher) Update(ctx context.Context, want *publication.Publication, keepOpen bool) ([]port.Binding,
	error) {
	plan, err := p.plan(want)
	if err != nil {
		return nil, err
	}

	end, err := p.changes.Lock(ctx)
	if err != nil {
		return nil, err
	}

	had, ok := p.store.Publication(want.Owner)
	switch {
	case !ok && len(plan) == 0:
		end()
		return nil, nil
	case !ok:
		defer end()
		return p.publish(ctx, want, plan)
	}

	done, err := p.replace(ctx, had, want, plan)
	end()
	if err != nil {
		return nil, err
	}

	p.notifyPublished(without(done.Bindings, had.Bindings))
	was, is := nameless(p.store.FirewallBindings(had)), nameless(p.store.FirewallBindings(done))
	gone := without(was, is)
	if keepOpen {
		gone = slices.DeleteFunc(gone, func(b port.Binding) bool { return b.Protocol != port.UDP })
	}

	p.deleter.begin(ctx, gone, without(is, was))
	return done.Bindings, nil
}

// nameless returns the bindings without the owner's name, which is irrelevant for connections.
func nameless(all []port.Binding) []port.Binding {
	out := slices.Clone(all)
	for i := range out {
		out[i].OwnerName = ""
	}
	return out
}

// replace replaces the stored publication of an owner.
func (p *Publisher) replace(ctx context.Context, had, want *publication.Publication,
	plan []publication.PortRequest) (*publication.Publication, error) {
	own := map[holdKey]io.Closer{}
	for _, h := range p.held[had.Owner] {
		own[h.key] = h.port
	}

	p.removeFromAllocator(had)
	r, err := p.reserve(want, plan, own)
	if err != nil {
		p.addToAllocator(had)
		return nil, err
	}

	done := *want
	done.Bindings = r.bindings
	port.Sort(done.Bindings)
	fresh := without(done.Bindings, had.Bindings)
	if err = errors.Join(p.permitted(ctx, fresh), p.deleter.awaitConflicting(ctx, fresh)); err == nil {
		err = p.applyReplacement(ctx, had, &done)
	}

	if err != nil {
		err = errors.Join(err, r.undo())
		p.addToAllocator(had)
		return nil, err
	}

	err = p.closeReleased(had, &done, r)
	p.relay(done.Owner, done.AnyFamily())
	return &done, err
}

// applyReplacement stores the new publication and updates the firewall. On error both have the old
// one.
func (p *Publisher) applyReplacement(ctx context.Context, had, done *publication.Publication) error {
	put := func(now *publication.Publication) error {
		if len(now.Bindings) == 0 {
			return p.store.DeletePublication(now.Owner)
		}
		return p.store.PutPublication(now)
	}

	if err := put(done); err != nil {
		return err
	}

	ctx = context.WithoutCancel(ctx) // a replacement must not stop halfway
	was, is := p.store.FirewallBindings(had), p.store.FirewallBindings(done)
	err := p.firewall.ReplaceBindings(ctx, without(was, is), without(is, was))
	if err == nil {
		return nil
	}

	p.log.Warn("firewall out of sync, reconciling", "error", err)
	if err = p.changes.Repair(ctx); err == nil {
		return nil
	}

	return errors.Join(err, put(had), p.changes.Repair(ctx))
}

// closeReleased closes the sockets of released ports and binds the deferred ones.
func (p *Publisher) closeReleased(had, done *publication.Publication, r *reservation) error {
	var errs []error
	keep := map[holdKey]bool{}
	var now []held
	for _, h := range r.held {
		if _, open := h.port.(deferredPort); open {
			p.unheld[h.key] = portOwner{owner: done.Owner, name: nameOf(done)}
			continue
		}
		keep[h.key] = true
		now = append(now, h)
		delete(p.unheld, h.key)
	}

	for _, h := range p.held[had.Owner] {
		if !keep[h.key] {
			errs = append(errs, h.port.Close())
		}
	}

	if p.held[done.Owner] = now; len(now) == 0 {
		delete(p.held, done.Owner)
	}

	wanted := map[holdKey]bool{}
	for _, b := range done.Bindings {
		wanted[holdKey{b.Protocol, b.HostPort()}] = true
	}

	for key, of := range p.unheld {
		if of.owner == done.Owner && !wanted[key] {
			delete(p.unheld, key)
		}
	}

	return errors.Join(append(errs, p.hold())...)
}

// removeFromAllocator removes the ports of a publication from the allocator.
func (p *Publisher) removeFromAllocator(known *publication.Publication) {
	p.allocator.RemoveRanges(known.Owner)
	for _, b := range known.Bindings {
		p.allocator.Remove(known.Owner, b.Protocol, b.HostIP, b.Host.First)
	}
}

// addToAllocator adds the ports of a publication to the allocator.
func (p *Publisher) addToAllocator(known *publication.Publication) {
	for _, b := range known.Bindings {
		if b.Direct() {
			continue // uses no host port
		}
		if b.IsRange() || b.IsAddress() {
			p.allocator.AddRange(known.Owner, nameOf(known), b)
			continue
		}
		p.allocator.Add(known.Owner, nameOf(known), b.Protocol, b.HostIP, b.Host.First)
	}
}

// without returns the bindings of all that are not in some.
func without(all, some []port.Binding) []port.Binding {
	in := make(map[port.Binding]bool, len(some))
	for _, b := range some {
		in[b] = true
	}
	var out []port.Binding
	for _, b := range all {
		if !in[b] {
			out = append(out, b)
		}
	}
	return out
}
