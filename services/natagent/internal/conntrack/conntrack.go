// Package conntrack cuts flows that the kernel still translates the way it decided when they began. It is natagent's door to
// the connection tracker, and nothing else asks it.
//
// A flow's translation is decided once. When a port is withdrawn, or leads elsewhere, a UDP client that keeps talking would be
// led to the old container for as long as it talks.
package conntrack

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Selector says which flows to cut: those that clients opened to a host's port.
type Selector struct {
	Protocol publication.Protocol
	Host     netip.AddrPort // what clients connect to; an unspecified address is any of the host's
	Target   netip.AddrPort // the container's port
	Last     uint16         // the last port of a run that leads to the same numbers; 0: one port, or a whole address
	// NotToTarget cuts the flows that go anywhere but to the target, those to the host itself among them. Otherwise those that go
	// to the target are cut.
	NotToTarget bool
	// Missed has a stale cut, of what is not UDP, cut only those flows that began while no rule translated them: they go to the host
	// itself, and have no answer. Their client's next tries would go where the first one did.
	Missed bool
	// Leaves cuts the flows from these addresses to none of Inside and not to the host, that are not translated and have no answer, as
	// they began while no rule translated them. Nothing else counts then.
	Leaves netip.Prefix
	Inside []netip.Prefix
	// AnyEndpoint cuts all flows that come from the target's address, or go there. Nothing else counts then.
	AnyEndpoint bool
}

// ForAddresses are the cuts for addresses that nobody has any more.
func ForAddresses(addresses []netip.Addr) []Selector {
	var out []Selector
	for _, a := range addresses {
		out = append(out, Selector{Target: netip.AddrPortFrom(a, 0), AnyEndpoint: true})
	}
	return out
}

// ForWithdrawn are the cuts for bindings that are no more.
func ForWithdrawn(bindings []publication.Binding) []Selector {
	out := make([]Selector, 0, len(bindings))
	for _, b := range bindings {
		out = append(out, Selector{Protocol: b.Protocol, Host: b.Host(), Target: b.Target(), Last: b.HostPortEnd})
	}
	return out
}

// ForPublished are the cuts for bindings that are new. Only UDP needs them: TCP and SCTP clients begin anew by themselves.
func ForPublished(bindings []publication.Binding) []Selector {
	var out []Selector
	for _, b := range bindings {
		if b.Protocol == publication.UDP || b.IsAddress() {
			out = append(out, Selector{Protocol: b.Protocol, Host: b.Host(), Target: b.Target(), Last: b.HostPortEnd, NotToTarget: true})
		}
	}
	return out
}

// Missed are the cuts for rules that were gone for a while and are back: of flows that began meanwhile and would go on without an
// answer for as long as their clients try. leaving are the networks whose addresses are translated outside; inside are all.
func Missed(bindings []publication.Binding, leaving, inside []netip.Prefix) []Selector {
	out := make([]Selector, 0, len(bindings)+len(leaving))
	for _, b := range bindings {
		if !b.Direct() {
			out = append(out, Selector{Protocol: b.Protocol, Host: b.Host(), Target: b.Target(), Last: b.HostPortEnd, NotToTarget: true, Missed: true})
		}
	}
	for _, p := range leaving {
		out = append(out, Selector{Leaves: p, Inside: inside})
	}
	return out
}

// Deleter cuts flows. To find them the kernel has to walk its whole table, some 5 ms at its usual size; so requests that come
// while a walk is under way are joined in the next one.
type Deleter struct {
	ns hostns.NS

	mu      sync.Mutex
	pending *batch
	walking bool
}

// batch is a set of cuts that are made together.
type batch struct {
	cuts []Selector
	done chan struct{}
	err  error
}

// New makes a cutter for a network namespace.
func New(ns hostns.NS) *Deleter { return &Deleter{ns: ns} }

// Delete cuts flows and waits until that is done. If ctx ends first they are cut all the same.
func (c *Deleter) Delete(ctx context.Context, cuts []Selector) error {
	if len(cuts) == 0 {
		return nil
	}
	w := c.enter(cuts)
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Deleter) enter(cuts []Selector) *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		c.pending = &batch{done: make(chan struct{})}
	}
	c.pending.cuts = append(c.pending.cuts, cuts...)
	w := c.pending
	if !c.walking {
		c.walking = true
		go c.work()
	}
	return w
}

// work makes walks until none is pending.
func (c *Deleter) work() {
	for {
		c.mu.Lock()
		w := c.pending
		c.pending = nil
		if w == nil {
			c.walking = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		w.err = c.cut(w.cuts)
		close(w.done)
	}
}

func (c *Deleter) cut(cuts []Selector) error {
	byFamily := map[bool][]Selector{}
	for _, one := range cuts {
		v6 := one.Host.Addr().Is6() || one.AnyEndpoint && one.Target.Addr().Is6() || one.Leaves.IsValid() && one.Leaves.Addr().Is6()
		byFamily[v6] = append(byFamily[v6], one)
	}
	var errs []error
	for v6, some := range byFamily {
		errs = append(errs, c.cutFamily(v6, newMatcher(some, c.local)))
	}
	return errors.Join(errs...)
}
