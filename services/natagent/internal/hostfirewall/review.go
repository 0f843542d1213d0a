package hostfirewall

import (
	"context"

	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// question is what somebody wants looked at.
type question struct {
	bindings []publication.Binding
	answer   chan<- []string // holds one
}

// Review tells, a line each, at which ports the host's own firewall is closed. Who asks while others are being answered is answered with
// one more look together with all who wait, so that a swarm costs no more than a few.
func (t *Checker) Review(ctx context.Context, some []publication.Binding) ([]string, error) {
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

// answer looks for those who ask until ctx ends.
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
		look := t.look()
		for _, q := range all {
			var warnings []string
			look.each(ctx, q.bindings, func(b publication.Binding, c Block) bool {
				warnings = append(warnings, b.Subject()+": "+c.String()+
					"; a published port does not pass there, and is open all the same: publish it with ,from=NETWORK to limit who reaches it")
				return true
			})
			q.answer <- warnings
		}
	}
}
