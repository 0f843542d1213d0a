package bridge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// grace is how long a pair has to vanish with its namespace, which costs nothing, before it is deleted, which is slow.
const grace = 300 * time.Millisecond

// pendingDeletes holds the host ends that were detached and may still be there.
type pendingDeletes struct {
	wake chan struct{} // holds one token while something may be in it
	mu   sync.Mutex
	dead []pendingLink
}

type pendingLink struct {
	name, alias string
	since       time.Time
}

func (g *pendingDeletes) add(name, alias string) {
	g.mu.Lock()
	g.dead = append(g.dead, pendingLink{name, alias, time.Now()})
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// drop forgets a host end that is gone already, or is in use again under the same name.
func (g *pendingDeletes) drop(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = slices.DeleteFunc(g.dead, func(d pendingLink) bool { return d.name == name })
}

// take removes and answers those that were added before a time, and tells whether others are left.
func (g *pendingDeletes) take(before time.Time) (due []pendingLink, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for n < len(g.dead) && g.dead[n].since.Before(before) {
		n++
	}
	due, g.dead = slices.Clone(g.dead[:n]), slices.Clone(g.dead[n:])
	return due, len(g.dead) > 0
}

// Bury deletes detached pairs that are still there after a grace, as a process holds their namespace. It runs until ctx ends,
// and has then deleted all of them. Failures are told; the next start finds what they leave.
func (d *Driver) Bury(ctx context.Context, failed func(error)) {
	for waitAtMost(ctx, d.pending.wake, 0) {
		for more := true; more && waitAtMost(ctx, nil, grace); {
			var due []pendingLink
			due, more = d.pending.take(time.Now().Add(-grace))
			d.deleteLinks(due, failed)
		}
	}
	d.announcer.Close()
	due, _ := d.pending.take(time.Now().Add(time.Hour))
	d.deleteLinks(due, failed)
}

// waitAtMost waits for a token, or for a time if that is not 0; false if ctx has ended.
func waitAtMost(ctx context.Context, token <-chan struct{}, most time.Duration) bool {
	var late <-chan time.Time
	if most > 0 {
		late = time.After(most)
	}
	select {
	case <-ctx.Done():
	case <-token:
	case <-late:
	}
	return ctx.Err() == nil
}

func (d *Driver) deleteLinks(due []pendingLink, failed func(error)) {
	names := make([]string, 0, len(due))
	for _, dead := range due {
		names = append(names, dead.name)
		link, ok, err := d.host.Link(dead.name)
		if ok && (link.Alias == dead.alias || unfinished(link)) {
			err = errors.Join(err, d.host.DeleteLink(link.Index))
		}
		if err != nil {
			failed(fault.Wrap(err, fault.Internal, "link "+dead.name, "cannot be deleted"))
		}
	}
	if d.ports == nil || len(names) == 0 {
		return
	}
	if err := d.ports.DropPorts(names...); err != nil {
		failed(fault.Wrap(err, fault.Internal, "port guard", "cannot forget ports"))
	}
}
