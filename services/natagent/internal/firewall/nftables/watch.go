package nftables

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// watchPause is the delay before a new subscription after the event socket overflowed.
const watchPause = 100 * time.Millisecond

// Watch implements firewall.Firewall.
func (b *Backend) Watch(ctx context.Context) (<-chan firewall.Modifier, error) {
	events, stop, err := b.monitor()
	if err != nil {
		return nil, err
	}

	out := make(chan firewall.Modifier, 1)
	signal := func(who firewall.Modifier) {
		select {
		case out <- who:
		default: // a signal is pending already
		}
	}

	go func() {
		for {
			if b.listen(ctx, events, signal); ctx.Err() != nil {
				stop()
				return
			}
			stop()
			signal(firewall.Modifier{}) // lost events are unknown
			for events = nil; events == nil; {
				select {
				case <-ctx.Done():
					return
				case <-time.After(watchPause):
				}
				if events, stop, err = b.monitor(); err != nil {
					events = nil
				}
			}
		}
	}()

	return out, nil
}

// monitor opens a separate socket and subscribes to transactions. stop must be called once.
func (b *Backend) monitor() (events <-chan *nftables.MonitorEvents, stop func(), err error) {
	conn, err := nftables.New(nftables.WithNetNSFd(b.ns.Fd()))
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be watched")
	}

	m := nftables.NewMonitor()
	ch, err := conn.AddGenerationalMonitor(m)
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be watched")
	}

	return ch, func() {
		_ = m.Close()
		for range ch { // lets the library's goroutine exit
		}
	}, nil
}

// listen signals external changes until events is closed or ctx ends.
func (b *Backend) listen(ctx context.Context, events <-chan *nftables.MonitorEvents, signal func(firewall.Modifier)) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			if who := modifier(e); e.GeneratedBy.Header.PID != b.pid && b.affectsOurTable(e.Changes) &&
				!elementsOfAgent(who, e.Changes) {
				signal(who)
			}
		}
	}
}

// modifier returns the program that made a transaction.
func modifier(e *nftables.MonitorEvents) firewall.Modifier {
	gen, ok := e.GeneratedBy.Data.(*nftables.Gen)
	if !ok || gen == nil {
		return firewall.Modifier{}
	}
	return firewall.Modifier{Name: gen.ProcComm, PID: gen.ProcPID}
}

// elementsOfAgent reports whether this process or another agent service changed elements only. The
// port guard's elements change with each launch, and element events do not name their table.
func elementsOfAgent(who firewall.Modifier, changes []*nftables.MonitorEvent) bool {
	self, err := os.ReadFile("/proc/self/comm")
	if err != nil || who.Name != strings.TrimSpace(string(self)) {
		return false
	}
	return !slices.ContainsFunc(changes, func(c *nftables.MonitorEvent) bool {
		return c.Type != nftables.MonitorEventTypeNewSetElem && c.Type != nftables.MonitorEventTypeDelSetElem
	})
}

// affectsOurTable reports whether a transaction may have changed our table. Set and element events
// do not name their table, but other programs cannot change an owned one.
func (b *Backend) affectsOurTable(changes []*nftables.MonitorEvent) bool {
	for _, c := range changes {
		switch data := c.Data.(type) {
		case *nftables.Table:
			if data != nil && data.Name == TableName {
				return true
			}
		case *nftables.Chain:
			if data != nil && data.Table != nil && data.Table.Name == TableName {
				return true
			}
		case *nftables.Rule:
			if data != nil && data.Table != nil && data.Table.Name == TableName {
				return true
			}
		default:
			if b.flags&nftables.TableFlagOwner == 0 {
				return true
			}
		}
	}

	return false
}
