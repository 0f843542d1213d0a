package publish

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
)

// deletionDelay is the delay before conntrack entries are deleted. The response is delivered first,
// and deletions that follow closely share one walk of the table.
const deletionDelay = 25 * time.Millisecond

// deleter deletes conntrack entries in the background. The kernel walks its whole table for this,
// which takes ten times as long as the rest of a change. Ports published meanwhile keep their
// entries.
type deleter struct {
	cut func(context.Context, []conntrack.Selector)

	all sync.WaitGroup

	mu      sync.Mutex
	running map[*deletion]bool
}

// deletion is one pending deletion.
type deletion struct {
	withdrawn []port.Binding
	fresh     []port.Binding
	started   bool
	hurry     func() // skips the delay
	done      chan struct{}
}

// begin schedules the deletion of the entries of withdrawn bindings, and of entries that fresh
// bindings make stale. It returns immediately.
func (c *deleter) begin(ctx context.Context, withdrawn, fresh []port.Binding) {
	if len(withdrawn)+len(conntrack.ForPublished(fresh)) == 0 {
		return
	}

	at := make(chan struct{})
	b := &deletion{withdrawn: withdrawn, fresh: fresh, hurry: sync.OnceFunc(func() { close(at) }),
		done: make(chan struct{})}

	c.mu.Lock()
	if c.running == nil {
		c.running = map[*deletion]bool{}
	}

	c.running[b] = true
	c.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	c.all.Go(func() {
		select {
		case <-at:
		case <-time.After(deletionDelay):
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

// start marks b as started and returns the entries to delete.
func (c *deleter) start(b *deletion) []conntrack.Selector {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.started = true
	return slices.Concat(conntrack.ForWithdrawn(b.withdrawn), conntrack.ForPublished(b.fresh))
}

// awaitConflicting protects the entries of bindings that are about to be published. Pending
// deletions omit bindings that are published again unchanged, and ports that get a new target,
// whose own deletion is scheduled later. It waits for the deletions that still conflict.
func (c *deleter) awaitConflicting(ctx context.Context, now []port.Binding) error {
	var wait []*deletion
	c.mu.Lock()
	for b := range c.running {
		if !b.started {
			b.withdrawn = slices.DeleteFunc(slices.Clone(b.withdrawn),
				func(gone port.Binding) bool { return among(now, gone) })
			b.fresh = slices.DeleteFunc(slices.Clone(b.fresh),
				func(before port.Binding) bool { return meets(now, before) })
		}
		if meets(now, b.fresh...) || slices.ContainsFunc(now,
			func(one port.Binding) bool { return hasTargetOf(one, b.withdrawn) }) {
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

// finish runs all pending deletions without delay and waits for them.
func (c *deleter) finish() {
	c.mu.Lock()
	for b := range c.running {
		b.hurry()
	}
	c.mu.Unlock()
	c.all.Wait()
}

// among reports whether some contains one, regardless of the owner's name.
func among(some []port.Binding, one port.Binding) bool {
	return slices.Contains(nameless(some), nameless([]port.Binding{one})[0])
}

// meets reports whether two lists of bindings have a port in common, or a published address.
func meets(some []port.Binding, others ...port.Binding) bool {
	return slices.ContainsFunc(some, func(b port.Binding) bool {
		return slices.ContainsFunc(others, func(o port.Binding) bool {
			return b.IsAddress() || o.IsAddress() || b.Protocol == o.Protocol && b.Host.Overlaps(o.Host)
		})
	})
}

// hasTargetOf reports whether b has the container address and port of one of the given bindings.
func hasTargetOf(b port.Binding, some []port.Binding) bool {
	return slices.ContainsFunc(some, func(o port.Binding) bool {
		return b.ContainerIP == o.ContainerIP && meets([]port.Binding{b}, o)
	})
}
