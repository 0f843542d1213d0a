package publish

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/natagent/conntrack"
	"github.com/fairlead/fairlead/services/natagent/publication"
)

// behindBy is how long cuts wait behind the answer, so that the walk does not keep the processor from delivering it, and several are made
// in one walk.
const behindBy = 25 * time.Millisecond

// cutting is the cuts that are made behind answers. To find flows the kernel looks through its whole table, which takes it ten times as
// long as all else together; so nobody waits for that but who publishes the same ports again, whose first new flows must not be cut.
type cutting struct {
	all sync.WaitGroup

	mu      sync.Mutex
	running map[*behind]bool
}

// behind is one of them.
type behind struct {
	cuts  []conntrack.Cut
	hurry func() // has them be made at once
	done  chan struct{}
}

// begin cuts flows, and answers at once.
func (c *cutting) begin(cuts []conntrack.Cut, cut func()) {
	at := make(chan struct{})
	b := &behind{cuts, sync.OnceFunc(func() { close(at) }), make(chan struct{})}
	c.mu.Lock()
	if c.running == nil {
		c.running = map[*behind]bool{}
	}
	c.running[b] = true
	c.mu.Unlock()
	c.all.Go(func() {
		select {
		case <-at:
		case <-time.After(behindBy):
		}
		cut()
		c.mu.Lock()
		delete(c.running, b)
		c.mu.Unlock()
		close(b.done)
	})
}

// settle waits until no flow of some bindings is about to be cut.
func (c *cutting) settle(ctx context.Context, bindings []publication.Binding) error {
	c.mu.Lock()
	var wait []*behind
	for b := range c.running {
		if slices.ContainsFunc(b.cuts, func(cut conntrack.Cut) bool { return meets(cut, bindings) }) {
			wait = append(wait, b)
		}
	}
	c.mu.Unlock()
	for _, b := range wait {
		b.hurry()
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

// meets tells whether a cut is of ports that some bindings have.
func meets(cut conntrack.Cut, bindings []publication.Binding) bool {
	all, last := cut.Protocol == publication.All, max(cut.Last, cut.Host.Port())
	return slices.ContainsFunc(bindings, func(b publication.Binding) bool {
		if all || b.Whole() {
			return true
		}
		return b.Protocol == cut.Protocol && cut.Host.Port() <= b.LastPort() && b.HostPort <= last
	})
}
