package inputpolicy

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/natagent/publication"
)

// rest is how long to wait after a port was published, as ports come in swarms.
const rest = 300 * time.Millisecond

// Teller logs which ports were published that the host's own firewall is closed at.
type Teller struct {
	reader *Reader
	log    *slog.Logger

	wake    chan struct{} // holds one token while something waits
	mu      sync.Mutex
	waiting []publication.Binding
}

// NewTeller makes one.
func NewTeller(r *Reader, log *slog.Logger) *Teller {
	return &Teller{reader: r, log: log, wake: make(chan struct{}, 1)}
}

// Published takes note of what was published. It never waits.
func (t *Teller) Published(bindings []publication.Binding) {
	t.mu.Lock()
	t.waiting = append(t.waiting, bindings...)
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Run looks at what was published until ctx ends.
func (t *Teller) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
		t.mu.Lock()
		some := t.waiting
		t.waiting = nil
		t.mu.Unlock()
		t.tell(ctx, some)
	}
}

func (t *Teller) tell(ctx context.Context, some []publication.Binding) {
	t.each(ctx, some, func(b publication.Binding, c Closed) bool {
		t.log.Warn("a port is published at which the host's own firewall is closed; ,from=NETWORK limits who reaches it",
			"port", b.Subject(), "container", b.OwnerName, "closed_by", c.Family+" "+c.Table+" "+c.Chain)
		return true
	})
}

// Permit refuses to publish what the host's own firewall is closed at.
func (t *Teller) Permit(ctx context.Context, some []publication.Binding) (err error) {
	t.each(ctx, some, func(b publication.Binding, c Closed) bool {
		err = fault.New(fault.Denied, b.Subject(), c.String(), fault.WithField("publish"),
			fault.WithHint("open it there, publish it for a network that may pass with ,from=NETWORK, or set publish-closed to warn"))
		return false
	})
	return err
}

// each calls found for those that a firewall is closed at, until it answers false. Whole addresses, and what is not led by the host, are
// left out.
func (t *Teller) each(ctx context.Context, some []publication.Binding, found func(publication.Binding, Closed) bool) {
	tables := map[bool][]table{}
	for _, b := range some {
		v4 := b.HostIP.Is4()
		if b.Whole() || b.Direct() || b.HostIP.IsLoopback() {
			continue
		}
		if _, read := tables[v4]; !read {
			tables[v4] = t.reader.tables(ctx, v4)
		}
		source := FarAway(v4)
		if from := b.Sources.Prefixes(); len(from) > 0 {
			source = from[0].Addr()
		}
		p := Packet{Protocol: b.Protocol, Source: source, Target: b.Host(), Interface: t.reader.interfaceTo(source)}
		for _, other := range tables[v4] {
			if c, closed := other.closed(p); closed {
				if !found(b, c) {
					return
				}
				break
			}
		}
	}
}

// FarAway is an address that stands for somebody in the internet; documentation is written with it.
func FarAway(v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte{203, 0, 113, 1})
	}
	return netip.MustParseAddr("2001:db8::1")
}
