package hostfirewall

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/proto/port"
)

// question is a request for a review.
type question struct {
	bindings []port.Binding
	answer   chan<- []string // has a buffer of one
}

// NoReview is a review without warnings, for configurations that do not want them.
type NoReview struct{}

// Review returns no warnings.
func (NoReview) Review(context.Context, []port.Binding) ([]string, error) { return nil, nil }

// Review returns a warning for each host port that the host firewall blocks. Concurrent calls share
// one inspection.
func (t *Checker) Review(ctx context.Context, some []port.Binding) ([]string, error) {
	some = slices.DeleteFunc(slices.Clone(some), func(b port.Binding) bool { return b.Direct() || b.Host.IsZero() })
	if len(some) == 0 {
		return nil, nil
	}

	answer := make(chan []string, 1)
	select {
	case t.asked <- question{some, answer}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}

	select {
	case warnings := <-answer:
		return warnings, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answer processes reviews until ctx ends.
func (t *Checker) answer(ctx context.Context) {
	for {
		var all []question
		select {
		case <-ctx.Done():
			return
		case q := <-t.asked:
			all = append(all, q)
		}
		for more := true; more; {
			select {
			case q := <-t.asked:
				all = append(all, q)
			default:
				more = false
			}
		}
		view := t.snapshot()
		for _, q := range all {
			var warnings []string
			view.each(ctx, q.bindings, func(b port.Binding, c Block) bool {
				warnings = append(warnings, b.Subject()+": "+c.String()+
					"; the port is published anyway: limit it with ,from=CIDR")
				return true
			})
			q.answer <- warnings
		}
	}
}
