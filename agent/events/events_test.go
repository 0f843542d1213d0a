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

// emit emits n events with the IDs first, first+1 and so on.
func emit(b *events.Broker, first, n int) {
	for i := range n {
		b.Emit(events.Container, "start", fmt.Sprint(first+i), nil)
	}
}

// receive returns the IDs of all events that can be read without waiting.
func receive(t *testing.T, l *events.Subscription) (ids []string, err error) {
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

func TestSubscriptionReceivesLaterEventsInOrder(t *testing.T) {
	var b events.Broker
	emit(&b, 0, 2)
	l := subscribe(t, &b, time.Time{})
	defer l.Close()
	emit(&b, 2, 3)
	if got, err := receive(t, l); err != nil || !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("got events %v, error %v", got, err)
	}
}

func TestHistoryKeepsLast256Events(t *testing.T) {
	var b events.Broker
	emit(&b, 0, 300)
	all := subscribe(t, &b, time.Unix(0, 0))
	defer all.Close()
	if got, err := receive(t, all); err != nil || len(got) != 256 || got[0] != "44" || got[255] != "299" {
		t.Errorf("got %d events, error %v, want the last 256", len(got), err)
	}

	since := time.Now()
	emit(&b, 300, 1)
	l := subscribe(t, &b, since)
	defer l.Close()
	emit(&b, 301, 1)
	if got, err := receive(t, l); err != nil || !slices.Equal(got, []string{"300", "301"}) {
		t.Errorf("got events %v, error %v", got, err)
	}
}

func TestSlowSubscriptionFailsAlone(t *testing.T) {
	var b events.Broker
	slow, fast := subscribe(t, &b, time.Time{}), subscribe(t, &b, time.Time{})
	defer fast.Close()
	for i := range 3000 {
		emit(&b, i, 1)
		if got, err := receive(t, fast); err != nil || len(got) != 1 {
			t.Fatalf("fast subscription: got events %v, error %v, want one event", got, err)
		}
	}

	// Events were lost, so Next returns an error immediately instead of the remaining events.
	if got, err := receive(t, slow); len(got) != 0 || !fault.Is(err, fault.Exhausted) {
		t.Errorf("slow subscription: got %d events, error %v, want an Exhausted fault", len(got), err)
	}

	slow.Close()
}

func TestSubscriptionBuffersEvents(t *testing.T) {
	var b events.Broker
	emit(&b, 0, 3000)
	l := subscribe(t, &b, time.Time{})
	defer l.Close()
	emit(&b, 3000, 1024)
	if got, err := receive(t, l); err != nil || len(got) != 1024 || got[0] != "3000" {
		t.Errorf("got %d events, %v, want 1024", len(got), err)
	}
}

func TestSubscriptionsLimitedAndCheap(t *testing.T) {
	var b events.Broker
	var all []*events.Subscription
	for range 512 {
		all = append(all, subscribe(t, &b, time.Time{}))
	}
	if _, err := b.Subscribe(time.Time{}); !fault.Is(err, fault.Exhausted) {
		t.Errorf("got %v, want Exhausted", err)
	}
	if size := testing.AllocsPerRun(100, func() { b.Emit(events.Container, "start", "1", nil) }); size > 1 {
		t.Errorf("got %v allocations an event, want none for each subscription", size)
	}

	all[0].Close()
	subscribe(t, &b, time.Time{}).Close()
}

func subscribe(t *testing.T, b *events.Broker, since time.Time) *events.Subscription {
	t.Helper()
	l, err := b.Subscribe(since)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestWatchStopsAtEndTime(t *testing.T) {
	var b events.Broker
	emit(&b, 0, 3)
	var got []string
	keep := func(e *eventv1.Event) error { got = append(got, e.GetId()); return nil }
	past := timestamppb.New(time.Unix(0, 0))
	if err := b.Watch(t.Context(), past, timestamppb.Now(), nil, keep); err != nil ||
		!slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("until now: got events %v, error %v", got, err)
	}

	late := func(*eventv1.Event) error { return errors.New("event after the end time") }
	if err := b.Watch(t.Context(), past, past, nil, late); err != nil {
		t.Errorf("until 1970: got error %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	err := b.Watch(ctx, past, nil, nil, func(*eventv1.Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled context: got error %v", err)
	}

	broken := errors.New("broken")
	if err := b.Watch(t.Context(), past, nil, nil, func(*eventv1.Event) error { return broken }); !errors.Is(err,
		broken) {
		t.Errorf("failed send: got error %v", err)
	}
}

func BenchmarkEmit(b *testing.B) {
	var broker events.Broker
	for b.Loop() {
		broker.Emit(events.Container, "start", "1", nil)
	}
}
