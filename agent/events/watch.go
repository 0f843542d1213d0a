package events

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
)

// Watch sends the events of a time range, whose ends can be absent, that a filter selects, until the
// range ends, ctx ends or send fails.
func (b *Broker) Watch(ctx context.Context, since, until *timestamppb.Timestamp, f *Filter,
	send func(*eventv1.Event) error) error {
	l, err := b.Subscribe(moment(since))
	if err != nil {
		return err
	}
	defer l.Close()
	span := ctx
	if until != nil {
		var cancel context.CancelFunc
		span, cancel = context.WithDeadline(ctx, until.AsTime())
		defer cancel()
	}
	for {
		e, err := l.Next(span)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return nil // the end of the time range
		case err != nil:
			return err
		case until != nil && e.Time.After(until.AsTime()):
			continue // a past event after the end of the range
		case !f.Fits(e):
			continue
		}
		if err := send(&eventv1.Event{Time: timestamppb.New(e.Time), Type: e.Type, Action: e.Action, Id: e.ID,
			Attributes: e.Attributes}); err != nil {
			return err
		}
	}
}

func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
