package hostfirewall

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
)

// debounce joins bursts of published ports.
const debounce = 300 * time.Millisecond

// Checker logs, or refuses to publish, ports that the host firewall blocks.
type Checker struct {
	reader *Reader
	log    *slog.Logger

	asked   chan question
	wake    notify.Signal // notified if bindings are waiting
	mu      sync.Mutex
	waiting []port.Binding
}

// NewChecker returns a checker.
func NewChecker(r *Reader, log *slog.Logger) *Checker {
	return &Checker{reader: r, log: log, asked: make(chan question), wake: notify.NewSignal()}
}

// Enqueue schedules a check of published bindings. It does not block.
func (t *Checker) Enqueue(bindings []port.Binding) {
	t.mu.Lock()
	t.waiting = append(t.waiting, bindings...)
	t.mu.Unlock()
	t.wake.Notify()
}

// Run checks enqueued bindings and processes reviews until ctx ends.
func (t *Checker) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { t.answer(ctx) })
	wg.Go(func() { t.reader.Watch(ctx) })
	defer wg.Wait()
	for t.wake.Wait(ctx, debounce) == nil {
		t.mu.Lock()
		some := t.waiting
		t.waiting = nil
		t.mu.Unlock()
		t.logBlocked(ctx, some)
	}
}

func (t *Checker) logBlocked(ctx context.Context, some []port.Binding) {
	t.snapshot().each(ctx, some, func(b port.Binding, c Block) bool {
		t.log.Warn("published port is blocked in the host firewall",
			"port", b.Subject(), "container", b.OwnerName, "chain", c.Family+" "+c.Table+" "+c.Chain)
		return true
	})
}

// CheckAllowed returns an error if the host firewall blocks one of the bindings.
func (t *Checker) CheckAllowed(ctx context.Context, some []port.Binding) (err error) {
	t.snapshot().each(ctx, some, func(b port.Binding, c Block) bool {
		err = fault.New(fault.Denied, b.Subject(), c.String(), fault.WithField("publish"),
			fault.WithHint("open the port there, publish it with ,from=CIDR for an accepted network, or set "+
				"publish-blocked to warn"))
		return false
	})
	return err
}
