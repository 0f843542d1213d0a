package bridge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/proto/fault"
)

// grace is the time for a detached veth pair to disappear with its namespace. Explicit
// deletion is slow.
const grace = 300 * time.Millisecond

// pendingDeletes holds the host ends of detached veth pairs that may still exist.
type pendingDeletes struct {
	wake notify.Signal // notified while the list may not be empty
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
	g.wake.Notify()
}

// drop removes a host end that was deleted, or is in use again under the same name.
func (g *pendingDeletes) drop(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = slices.DeleteFunc(g.dead, func(d pendingLink) bool { return d.name == name })
}

// take removes and returns the entries added before a time. more reports whether entries remain.
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

// RunLinkGC deletes detached veth pairs that still exist after a grace period. These are pairs
// whose namespace is kept by a process. It runs until ctx ends, and has deleted all of them then.
// It reports errors to failed; the next start deletes what remains.
func (d *Driver) RunLinkGC(ctx context.Context, failed func(error)) {
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

// waitAtMost waits for a token, or for most if that is not 0. It returns false if ctx has ended.
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
		failed(fault.Wrap(err, fault.Internal, "port guard", "cannot remove ports"))
	}
}
