package hostfirewall

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// debounce is how long to wait after a port was published, as ports come in swarms.
const debounce = 300 * time.Millisecond

// Checker logs which ports were published that the host's own firewall is closed at.
type Checker struct {
	reader *Reader
	log    *slog.Logger

	asked   chan question
	wake    chan struct{} // holds one token while something waits
	mu      sync.Mutex
	waiting []publication.Binding
}

// NewTeller makes one.
func NewTeller(r *Reader, log *slog.Logger) *Checker {
	return &Checker{reader: r, log: log, asked: make(chan question), wake: make(chan struct{}, 1)}
}

// Enqueue takes note of what was published. It never waits.
func (t *Checker) Enqueue(bindings []publication.Binding) {
	t.mu.Lock()
	t.waiting = append(t.waiting, bindings...)
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Run looks at what was published, and answers who asks, until ctx ends.
func (t *Checker) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { t.answer(ctx) })
	wg.Go(func() { t.reader.Watch(ctx) })
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(debounce):
		}
		t.mu.Lock()
		some := t.waiting
		t.waiting = nil
		t.mu.Unlock()
		t.logBlocked(ctx, some)
	}
}

func (t *Checker) logBlocked(ctx context.Context, some []publication.Binding) {
	t.look().each(ctx, some, func(b publication.Binding, c Block) bool {
		t.log.Warn("a port is published at which the host's own firewall is closed; ,from=NETWORK limits who reaches it",
			"port", b.Subject(), "container", b.OwnerName, "closed_by", c.Family+" "+c.Table+" "+c.Chain)
		return true
	})
}

// CheckAllowed refuses to publish what the host's own firewall is closed at.
func (t *Checker) CheckAllowed(ctx context.Context, some []publication.Binding) (err error) {
	t.look().each(ctx, some, func(b publication.Binding, c Block) bool {
		err = fault.New(fault.Denied, b.Subject(), c.String(), fault.WithField("publish"),
			fault.WithHint("open it there, publish it for a network that may pass with ,from=NETWORK, or set publish-closed to warn"))
		return false
	})
	return err
}
