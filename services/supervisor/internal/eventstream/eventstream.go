// Package eventstream merges the events of several services into one stream in order of time. Package
// api uses it. The services keep and filter their own events.
package eventstream

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
)

// Source sends the events of one service until its end. send returns an error once the stream has ended.
type Source func(ctx context.Context, send func(*eventv1.Event) error) error

// window is the time that an event waits for simultaneous events of other services.
const window = 30 * time.Millisecond

// item is an event, or the end of a source: io.EOF or its error.
type item struct {
	event *eventv1.Event
	err   error
}

// Merge calls send for the events of all sources. Events within a short time are sorted by time. It
// returns when all sources have ended, or one fails.
func Merge(ctx context.Context, send func(*eventv1.Event) error, sources ...Source) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := make(chan item)
	offer := func(i item) error {
		select {
		case all <- i:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, source := range sources {
		go func() {
			err := source(ctx, func(e *eventv1.Event) error { return offer(item{event: e}) })
			if err == nil {
				err = io.EOF
			}
			_ = offer(item{err: err})
		}()
	}

	return merge(ctx, all, len(sources), send)
}

func merge(ctx context.Context, all <-chan item, sources int, send func(*eventv1.Event) error) error {
	var batch []*eventv1.Event
	var due <-chan time.Time
	flush := func() error {
		slices.SortStableFunc(batch,
			func(a, b *eventv1.Event) int { return a.GetTime().AsTime().Compare(b.GetTime().AsTime()) })
		for _, e := range batch {
			if err := send(e); err != nil {
				return err
			}
		}
		batch, due = nil, nil
		return nil
	}

	for sources > 0 {
		select {
		case i := <-all:
			switch {
			case errors.Is(i.err, io.EOF):
				sources--
			case i.err != nil:
				return errors.Join(flush(), i.err)
			default:
				if batch = append(batch, i.event); due == nil {
					due = time.After(window)
				}
			}
		case <-due:
			if err := flush(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return flush()
}
