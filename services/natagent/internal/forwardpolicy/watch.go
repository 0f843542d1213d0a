package forwardpolicy

import (
	"context"
	"time"

	"github.com/google/nftables"
)

const (
	settle      = 50 * time.Millisecond // after a change, as rules are changed one after the other
	listenAgain = 3 * time.Second
)

// Watch calls nudge when others may have changed what they let through, until ctx ends. Changes of iptables that is not kept by
// nf_tables are not seen: the kernel does not tell of them.
func (p *Policy) Watch(ctx context.Context, nudge func()) {
	for ctx.Err() == nil {
		p.listen(ctx, nudge)
		pause(ctx, listenAgain)
	}
}

// listen hears the kernel until ctx ends or it cannot be heard.
func (p *Policy) listen(ctx context.Context, nudge func()) {
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
		for range events { // lets the library's goroutine end
		}
	}()
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			due = nil
			nudge()
		case e, ok := <-events:
			if !ok {
				nudge() // what was missed is not known
				return
			}
			if due == nil && affectsForward(e.Changes) {
				due = time.After(settle)
			}
		}
	}
}

// affectsForward tells whether a change may be to what becomes of forwarded packets.
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
