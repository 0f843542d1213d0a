package forwardpolicy

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
)

const (
	debounce     = 50 * time.Millisecond // joins bursts of changes
	rewatchDelay = 3 * time.Second
)

// Watch calls notify when foreign rules may have changed, until ctx ends. The kernel has no events
// for legacy iptables.
func (p *Policy) Watch(ctx context.Context, notify func()) {
	for ctx.Err() == nil {
		p.listen(ctx, notify)
		pause(ctx, rewatchDelay)
	}
}

// listen receives events until ctx ends or the subscription fails.
func (p *Policy) listen(ctx context.Context, notify func()) {
	changed := make(chan struct{}, 1)
	cancel, err := p.events.Subscribe(func(t nfevents.Transaction) {
		if t.Lost || slices.ContainsFunc(t.Changes, affectsForward) {
			select {
			case changed <- struct{}{}:
			default: // not received yet
			}
		}
	})
	if err != nil {
		return
	}
	defer cancel()

	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			due = nil
			notify()
		case <-changed:
			if due == nil {
				due = time.After(debounce)
			}
		}
	}
}

// affectsForward reports whether a change may affect forwarded packets.
func affectsForward(c nfevents.Change) bool {
	switch c.Kind {
	case nfevents.Chain:
		return c.Base && c.Hook == unix.NF_INET_FORWARD
	case nfevents.Rule:
		return c.Chain == forward || c.Chain == dockerUser
	}
	return c.Kind == nfevents.Table
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
