package eventstream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
)

func source(err error, seconds ...int64) Source {
	return func(_ context.Context, send func(*eventv1.Event) error) error {
		for _, s := range seconds {
			if err := send(&eventv1.Event{Action: string(rune('a' + s)),
				Time: &timestamppb.Timestamp{Seconds: s}}); err != nil {
				return err
			}
		}
		return err
	}
}

func TestMergeSortsSimultaneousEvents(t *testing.T) {
	var got []string
	send := func(e *eventv1.Event) error { got = append(got, e.GetAction()); return nil }
	if err := Merge(t.Context(), send, source(nil, 0, 3, 4), source(nil, 1, 2, 5), source(nil)); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(got, ""); text != "abcdef" {
		t.Errorf("got %q", text)
	}
}

func TestMergeEndsWithItsSourcesAndClient(t *testing.T) {
	broken := errors.New("broken")
	n := 0
	count := func(*eventv1.Event) error { n++; return nil }
	waits := func(ctx context.Context, _ func(*eventv1.Event) error) error { <-ctx.Done(); return ctx.Err() }
	if err := Merge(t.Context(), count, source(broken, 1), waits); !errors.Is(err, broken) || n != 1 {
		t.Errorf("failing source: got %v and %d events", err, n)
	}
	if err := Merge(t.Context(), func(*eventv1.Event) error { return broken }, source(nil, 1),
		waits); !errors.Is(err, broken) {
		t.Errorf("failing client: got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := Merge(ctx, count, waits); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("canceled: got %v", err)
	}
}
