package system

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// merged returns the events of services: each emits some, then its stream ends with an error.
func merged(ctx context.Context, ends ...error) *mergedEvents {
	m := &mergedEvents{events: make(chan *eventv1.Event, eventBatch), ended: make(chan error), open: len(ends)}
	for _, end := range ends {
		left := 3
		go m.forward(ctx, func() (*eventv1.Event, error) {
			if left == 0 {
				if end == nil {
					<-ctx.Done() // the stream stays open
					return nil, ctx.Err()
				}
				return nil, end
			}
			left--
			return &eventv1.Event{}, nil
		})
	}
	return m
}

// TestEventsEndWithLostService: a client must not take the events of a part of the services for all.
func TestEventsEndWithLostService(t *testing.T) {
	gone := errors.New("the supervisor is gone")
	for name, c := range map[string]struct {
		ends []error
		all  bool // events of all services arrive
		lost bool
	}{
		"all ended":           {[]error{io.EOF, io.EOF}, true, false},
		"one lost":            {[]error{gone, nil}, false, true},
		"one lost, one ended": {[]error{io.EOF, gone}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			m, got := merged(ctx, c.ends...), 0
			for _, ok := m.next(); ok; _, ok = m.next() {
				got++
			}
			if m.lost != c.lost || c.all && got != 3*len(c.ends) || got < 3 {
				t.Errorf("got %d events, lost %t", got, m.lost)
			}
			if !m.lost && len(m.past(ctx, time.After(sortTime))) != 0 {
				t.Error("got events after the end")
			}
		})
	}
}

// TestPastIsSortedAtTheEnd: the ends of services can be received before their events.
func TestPastIsSortedAtTheEnd(t *testing.T) {
	for range 200 {
		m := &mergedEvents{events: make(chan *eventv1.Event, eventBatch), ended: make(chan error, 2), open: 2}
		for _, second := range []int64{1, 3, 5, 2, 4, 6} {
			m.events <- &eventv1.Event{Time: &timestamppb.Timestamp{Seconds: second}}
		}
		m.ended <- nil
		m.ended <- nil

		var got []int64
		for _, e := range m.past(t.Context(), time.After(sortTime)) {
			got = append(got, e.GetTime().GetSeconds())
		}
		// With an open service the time was over.
		if want := []int64{1, 2, 3, 4, 5, 6}; m.open == 0 && !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// TestPastIsCompleteOnBusyHost: events of a time that is over are sorted even if a service is slow.
func TestPastIsCompleteOnBusyHost(t *testing.T) {
	now := time.Unix(100, 0)
	h := &Handlers{now: func() time.Time { return now }}
	for name, c := range map[string]struct {
		until *timestamppb.Timestamp
		want  []int64
	}{
		"no end":            {nil, []int64{2, 4}},
		"end in the future": {timestamppb.New(now.Add(time.Hour)), []int64{2, 4}},
		"end in the past":   {timestamppb.New(now), []int64{1, 2, 3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				m := &mergedEvents{events: make(chan *eventv1.Event, eventBatch), ended: make(chan error), open: 2}
				go m.forward(ctx, emit(0, 4, 2))
				go m.forward(ctx, emit(time.Minute, 3, 1))
				var got []int64
				for _, e := range m.past(ctx, h.pastLimit(c.until)) {
					got = append(got, e.GetTime().GetSeconds())
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
				cancel()
				time.Sleep(time.Hour) // the slow service ends
			})
		})
	}

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := (&mergedEvents{open: 2}).past(gone, nil); len(got) != 0 {
		t.Errorf("without a client: got %v", got)
	}
}

// emit returns a stream that begins after a time, has events at some seconds, and ends.
func emit(after time.Duration, seconds ...int64) func() (*eventv1.Event, error) {
	return func() (*eventv1.Event, error) {
		time.Sleep(after)
		after = 0
		if len(seconds) == 0 {
			return nil, io.EOF
		}
		e := &eventv1.Event{Time: &timestamppb.Timestamp{Seconds: seconds[0]}}
		seconds = seconds[1:]
		return e, nil
	}
}

// slowClient is a client, with the write deadlines and the number of events that it got with each flush.
type slowClient struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
	flushed   []int
}

func (c *slowClient) SetWriteDeadline(at time.Time) error {
	c.deadlines = append(c.deadlines, at)
	return nil
}

func (c *slowClient) FlushError() error {
	c.flushed = append(c.flushed, strings.Count(c.Body.String(), "\n"))
	c.Body.Reset()
	return nil
}

func TestEventsAreFlushedInBatches(t *testing.T) {
	client := &slowClient{ResponseRecorder: httptest.NewRecorder()}
	request := &httpapi.Request{Request: httptest.NewRequest(http.MethodGet, "/events", nil), Version: apiversion.Max}
	out := newEventWriter(client, request, nil)
	out.start()
	for range 2*eventBatch + 1 {
		if err := out.write(&eventv1.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.flush(); err != nil {
		t.Fatal(err)
	}
	out.end()

	if want := []int{0, eventBatch, eventBatch, 1}; !slices.Equal(client.flushed, want) {
		t.Errorf("got batches %v, want %v", client.flushed, want)
	}
	if n := len(client.deadlines); n != 4 || client.deadlines[n-2].IsZero() || !client.deadlines[n-1].IsZero() {
		t.Errorf("got deadlines %v, want one for each batch, and none at the end", client.deadlines)
	}
}
