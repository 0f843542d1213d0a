package publish

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// behindBy is how long cuts wait behind the answer, so that the walk does not keep the processor from delivering it, and several are made
// in one walk.
const behindBy = 25 * time.Millisecond

// cutting is the cuts that are made behind answers: to find flows the kernel looks through its whole table, which takes it ten times as
// long as all else together. What is published meanwhile is not harmed by them.
type cutting struct {
	cut func(context.Context, []conntrack.Selector)

	all sync.WaitGroup

	mu      sync.Mutex
	running map[*behind]bool
}

// behind is one of them.
type behind struct {
	withdrawn []publication.Binding
	fresh     []publication.Binding
	started   bool
	hurry     func() // has them be made at once
	done      chan struct{}
}

// begin cuts the flows of bindings that are no more, and those that went elsewhere before others were, and answers at once.
func (c *cutting) begin(ctx context.Context, withdrawn, fresh []publication.Binding) {
	if len(withdrawn)+len(conntrack.ForPublished(fresh)) == 0 {
		return
	}
	at := make(chan struct{})
	b := &behind{withdrawn: withdrawn, fresh: fresh, hurry: sync.OnceFunc(func() { close(at) }), done: make(chan struct{})}
	c.mu.Lock()
	if c.running == nil {
		c.running = map[*behind]bool{}
	}
	c.running[b] = true
	c.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	c.all.Go(func() {
		select {
		case <-at:
		case <-time.After(behindBy):
		}
		if cuts := c.start(b); len(cuts) > 0 {
			c.cut(ctx, cuts)
		}
		c.mu.Lock()
		delete(c.running, b)
		c.mu.Unlock()
		close(b.done)
	})
}

// start gives what is left to cut.
func (c *cutting) start(b *behind) []conntrack.Selector {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.started = true
	return slices.Concat(conntrack.ForWithdrawn(b.withdrawn), conntrack.ForPublished(b.fresh))
}

// settle sees to it that no cut harms the flows of what is about to be published. What is published again as it was is not withdrawn any
// more, so that its flows stay; and a port that leads elsewhere now has cuts of its own. Else it waits.
func (c *cutting) settle(ctx context.Context, now []publication.Binding) error {
	var wait []*behind
	c.mu.Lock()
	for b := range c.running {
		if !b.started {
			b.withdrawn = slices.DeleteFunc(slices.Clone(b.withdrawn), func(gone publication.Binding) bool { return among(now, gone) })
			b.fresh = slices.DeleteFunc(slices.Clone(b.fresh), func(before publication.Binding) bool { return meets(now, before) })
		}
		if meets(now, b.fresh...) || slices.ContainsFunc(now, func(one publication.Binding) bool { return leadsLike(one, b.withdrawn) }) {
			wait = append(wait, b)
			b.hurry()
		}
	}
	c.mu.Unlock()
	for _, b := range wait {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// finish has all be made at once, and waits for them.
func (c *cutting) finish() {
	c.mu.Lock()
	for b := range c.running {
		b.hurry()
	}
	c.mu.Unlock()
	c.all.Wait()
}

// among tells whether one of some bindings is just the same, whoever has it.
func among(some []publication.Binding, one publication.Binding) bool {
	return slices.Contains(nameless(some), nameless([]publication.Binding{one})[0])
}

// meets tells whether any of some bindings has a port that others have.
func meets(some []publication.Binding, others ...publication.Binding) bool {
	return slices.ContainsFunc(some, func(b publication.Binding) bool {
		return slices.ContainsFunc(others, func(o publication.Binding) bool {
			return b.IsAddress() || o.IsAddress() || b.Protocol == o.Protocol && b.HostPort <= o.LastPort() && o.HostPort <= b.LastPort()
		})
	})
}

// leadsLike tells whether a binding leads a port to where some have led it.
func leadsLike(b publication.Binding, some []publication.Binding) bool {
	return slices.ContainsFunc(some, func(o publication.Binding) bool {
		return b.ContainerIP == o.ContainerIP && meets([]publication.Binding{b}, o)
	})
}
