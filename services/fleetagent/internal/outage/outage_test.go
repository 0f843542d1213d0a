package outage

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestCallsAreRepeatedUntilAnotherLeader(t *testing.T) {
	away := fault.New(fault.Unavailable, "store", "cannot be reached")
	taken := fault.New(fault.Exists, "host two", "exists")
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx      context.Context
		answered time.Time
		errs     []error // of each call; the last one is repeated
		want     error
		calls    int
	}{
		"answers":            {context.Background(), time.Now(), []error{nil}, nil, 1},
		"between leaders":    {context.Background(), time.Now(), []error{away, away, nil}, nil, 3},
		"refused by another": {context.Background(), time.Now(), []error{away, taken}, taken, 2},
		"refused":            {context.Background(), time.Now(), []error{taken}, taken, 1},
		"away for long":      {context.Background(), time.Now().Add(-2 * timeout), []error{away}, away, 1},
		"never reached":      {context.Background(), time.Time{}, []error{away}, away, 1},
		"command ended":      {over, time.Now(), []error{away}, away, 1},
	} {
		tracker := New(slog.New(slog.DiscardHandler))
		tracker.answered = c.answered
		calls := 0
		err := tracker.Retry(c.ctx, func(context.Context) error {
			calls++
			return c.errs[min(calls, len(c.errs))-1]
		})
		if err != c.want || calls != c.calls {
			t.Errorf("%s: got error %v after %d calls, want %v after %d", name, err, calls, c.want, c.calls)
		}
	}
}

func TestOutageIsNoted(t *testing.T) {
	tracker := New(slog.New(slog.DiscardHandler))
	away := fault.New(fault.Unavailable, "store", "cannot be reached")
	tracker.Note(away)
	if got := tracker.Err(); got != away {
		t.Errorf("got error %v", got)
	}
	tracker.Note(nil)
	if got := tracker.Err(); got != nil || tracker.away() {
		t.Errorf("after an answer: got error %v", got)
	}
}
