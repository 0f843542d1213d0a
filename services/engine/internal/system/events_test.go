package system

import (
	"context"
	"errors"
	"io"
	"testing"

	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
)

// merged returns the events of services: each emits some, then its stream ends with an error.
func merged(ctx context.Context, ends ...error) *mergedEvents {
	m := &mergedEvents{events: make(chan *eventv1.Event), ended: make(chan error), open: len(ends)}
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
			if len(m.past()) != 0 {
				t.Error("got events after the end")
			}
		})
	}
}
