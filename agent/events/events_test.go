package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
)

// tell tells of n events, numbered from first on.
func tell(b *events.Broker, first, n int) {
	for i := range n {
		b.Emit(events.Container, "start", fmt.Sprint(first+i), nil)
	}
}

// heard reads ids until there is nothing more to read.
func heard(t *testing.T, l *events.Subscription) (ids []string, err error) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		e, err := l.Next(ended)
		if errors.Is(err, context.Canceled) {
			return ids, nil
		}
		if err != nil {
			return ids, err
		}
		ids = append(ids, e.ID)
	}
}

func TestListenersHearWhatHappensFromThenOnInOrder(t *testing.T) {
	var b events.Broker
	tell(&b, 0, 2)
	l := listen(t, &b, time.Time{})
	defer l.Close()
	tell(&b, 2, 3)
	if got, err := heard(t, l); err != nil || !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("heard %v, %v", got, err)
	}
}

func TestTheLastEventsAreRememberedAndNoMore(t *testing.T) {
	var b events.Broker
	tell(&b, 0, 300)
	all := listen(t, &b, time.Unix(0, 0))
	defer all.Close()
	if got, err := heard(t, all); err != nil || len(got) != 256 || got[0] != "44" || got[255] != "299" {
		t.Errorf("heard %d, %v", len(got), err)
	}
	since := time.Now()
	tell(&b, 300, 1)
	l := listen(t, &b, since)
	defer l.Close()
	tell(&b, 301, 1)
	if got, err := heard(t, l); err != nil || !slices.Equal(got, []string{"300", "301"}) {
		t.Errorf("heard %v, %v", got, err)
	}
}

func TestASlowListenerIsCutOffAndHoldsUpNobody(t *testing.T) {
	var b events.Broker
	slow, quick := listen(t, &b, time.Time{}), listen(t, &b, time.Time{})
	defer quick.Close()
	for i := range 3000 {
		tell(&b, i, 1)
		if got, err := heard(t, quick); err != nil || len(got) != 1 {
			t.Fatalf("the quick one heard %v, %v", got, err)
		}
	}
	// What it would get next is gone, so it gets nothing that would hide that.
	if got, err := heard(t, slow); len(got) != 0 || !fault.Is(err, fault.Exhausted) {
		t.Errorf("the slow one heard %d, and then %v", len(got), err)
	}
	slow.Close()
}

func TestListenerMayBeBehind(t *testing.T) {
	var b events.Broker
	tell(&b, 0, 3000)
	l := listen(t, &b, time.Time{})
	defer l.Close()
	tell(&b, 3000, 1024)
	if got, err := heard(t, l); err != nil || len(got) != 1024 || got[0] != "3000" {
		t.Errorf("got %d events, %v, want 1024", len(got), err)
	}
}

func TestListenersHaveABudgetAndCostLittle(t *testing.T) {
	var b events.Broker
	var all []*events.Subscription
	for range 512 {
		all = append(all, listen(t, &b, time.Time{}))
	}
	if _, err := b.Subscribe(time.Time{}); !fault.Is(err, fault.Exhausted) {
		t.Errorf("got %v, want Exhausted", err)
	}
	if size := testing.AllocsPerRun(100, func() { b.Emit(events.Container, "start", "1", nil) }); size > 1 {
		t.Errorf("got %v allocations an event, want none for each of the listeners", size)
	}
	all[0].Close()
	listen(t, &b, time.Time{}).Close()
}

func listen(t *testing.T, b *events.Broker, since time.Time) *events.Subscription {
	t.Helper()
	l, err := b.Subscribe(since)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestWatchingEndsWithItsSpan(t *testing.T) {
	var b events.Broker
	tell(&b, 0, 3)
	var got []string
	keep := func(e *eventv1.Event) error { got = append(got, e.GetId()); return nil }
	past := timestamppb.New(time.Unix(0, 0))
	if err := b.Watch(t.Context(), past, timestamppb.Now(), keep); err != nil ||
		!slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("until now: %v, %v", got, err)
	}
	if err := b.Watch(t.Context(), past, past, func(*eventv1.Event) error { return errors.New("of later") }); err != nil {
		t.Errorf("until long ago: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := b.Watch(ctx, past, nil, func(*eventv1.Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the agent ends: %v", err)
	}
	broken := errors.New("broken")
	if err := b.Watch(t.Context(), past, nil, func(*eventv1.Event) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("it cannot be sent: %v", err)
	}
}

func BenchmarkTell(b *testing.B) {
	var broker events.Broker
	for b.Loop() {
		broker.Emit(events.Container, "start", "1", nil)
	}
}
