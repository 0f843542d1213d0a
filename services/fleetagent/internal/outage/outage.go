// Package outage notes whether the fleet's store answers, and repeats calls that it does not answer.
//
// It makes no call itself. It is used by fleetagent.
package outage

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// A command waits for a store that answered within the timeout: its members choose another leader within
// seconds after the leader was lost. A store that is away for longer is reported immediately.
const (
	timeout    = 15 * time.Second
	retryDelay = 100 * time.Millisecond
)

// Tracker notes whether the store answers. It is safe for concurrent use.
type Tracker struct {
	log *slog.Logger

	mu       sync.Mutex
	err      error     // why the store does not answer
	answered time.Time // when it answered last
}

// New returns a tracker of a store that has not answered yet.
func New(log *slog.Logger) *Tracker { return &Tracker{log: log} }

// Note notes that the store has answered, or why it has not.
func (t *Tracker) Note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil && t.err != nil:
		t.log.Info("store can be reached again")
	case err != nil && t.err == nil:
		t.log.Warn("store cannot be reached", "error", err)
	}
	if t.err = err; err == nil {
		t.answered = time.Now()
	}
}

// Err returns why the store does not answer, and nil while it does.
func (t *Tracker) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Retry makes a call that can be repeated, and repeats it while the store does not answer, until the timeout.
// It returns the last error.
func (t *Tracker) Retry(ctx context.Context, call func(context.Context) error) error {
	for began := time.Now(); ; {
		err := call(ctx)
		if fault.KindOf(err) != fault.Unavailable || time.Since(began) > timeout || t.away() {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryDelay):
		}
	}
}

// away reports whether the store has not answered for longer than the timeout.
func (t *Tracker) away() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.answered) > timeout
}
