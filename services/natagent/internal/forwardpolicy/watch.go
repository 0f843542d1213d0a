package forwardpolicy

import (
	"context"
	"time"

	"github.com/google/nftables"
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
	conn, err := nftables.New(nftables.WithNetNSFd(p.ns.Fd()))
	if err != nil {
		return
	}

	monitor := nftables.NewMonitor()
	events, err := conn.AddGenerationalMonitor(monitor)
	if err != nil {
		return
	}
	defer func() {
		_ = monitor.Close()
		for range events { // lets the library's goroutine exit
		}
	}()

	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			due = nil
			notify()
		case e, ok := <-events:
			if !ok {
				notify() // lost events are unknown
				return
			}
			if due == nil && affectsForward(e.Changes) {
				due = time.After(debounce)
			}
		}
	}
}

// affectsForward reports whether a change may affect forwarded packets.
func affectsForward(changes []*nftables.MonitorEvent) bool {
	for _, c := range changes {
		switch data := c.Data.(type) {
		case *nftables.Chain:
			if data != nil && data.Hooknum != nil && *data.Hooknum == *nftables.ChainHookForward {
				return true
			}
		case *nftables.Rule:
			if data != nil && data.Chain != nil && (data.Chain.Name == forward || data.Chain.Name == dockerUser) {
				return true
			}
		case *nftables.Table:
			return true
		}
	}

	return false
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
