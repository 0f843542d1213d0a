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

// watchPause is how long to wait before listening again after the kernel had more events than the socket could hold.
const watchPause = 100 * time.Millisecond

// Watch signals changes that others made and that may be to our table.
func (b *Backend) Watch(ctx context.Context) (<-chan firewall.Modifier, error) {
	events, stop, err := b.monitor()
	if err != nil {
		return nil, err
	}
	out := make(chan firewall.Modifier, 1)
	signal := func(who firewall.Modifier) {
		select {
		case out <- who:
		default: // one is waiting to be read already
		}
	}
	go func() {
		for {
			if b.listen(ctx, events, signal); ctx.Err() != nil {
				stop()
				return
			}
			stop()
			signal(firewall.Modifier{}) // what was missed is not known
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

// monitor opens a socket of its own and listens for transactions. stop must be called once.
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
		for range ch { // lets the library's goroutine end
		}
	}, nil
}

// listen signals until events end or ctx does.
func (b *Backend) listen(ctx context.Context, events <-chan *nftables.MonitorEvents, signal func(firewall.Modifier)) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			if who := modifier(e); e.GeneratedBy.Header.PID != b.pid && b.affectsOurTable(e.Changes) && !elementsOfAgent(who, e.Changes) {
				signal(who)
			}
		}
	}
}

// modifier is who made a transaction.
func modifier(e *nftables.MonitorEvents) firewall.Modifier {
	gen, ok := e.GeneratedBy.Data.(*nftables.Gen)
	if !ok || gen == nil {
		return firewall.Modifier{}
	}
	return firewall.Modifier{Name: gen.ProcComm, PID: gen.ProcPID}
}

// elementsOfAgent reports whether an agent, this process or another service of the host, has changed only elements: those of the port
// guard change with each launch, and events do not name their table.
func elementsOfAgent(who firewall.Modifier, changes []*nftables.MonitorEvent) bool {
	self, err := os.ReadFile("/proc/self/comm")
	if err != nil || who.Name != strings.TrimSpace(string(self)) {
		return false
	}
	return !slices.ContainsFunc(changes, func(c *nftables.MonitorEvent) bool {
		return c.Type != nftables.MonitorEventTypeNewSetElem && c.Type != nftables.MonitorEventTypeDelSetElem
	})
}

// affectsOurTable tells whether a transaction may have touched our table. Changes of sets and elements do not say whose they are;
// nobody else can make them in a table that is owned.
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
