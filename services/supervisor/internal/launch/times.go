package launch

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// Times counts launches, their steps, and how long they took, by outcome.
type Times struct{ All, Steps metrics.Times }

// outcomeOf returns the label of an outcome.
func outcomeOf(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

// timed returns steps that are counted.
func (t *Times) timed(steps []saga.Step) []saga.Step {
	all := make([]saga.Step, len(steps))
	for i, s := range steps {
		all[i] = s
		if s.Undo != nil {
			all[i].Undo = func(ctx context.Context) error {
				ctx, step := tracing.Start(ctx, "undo "+s.Name)
				err := s.Undo(ctx)
				step.End(err)
				return err
			}
		}
		if s.Do == nil {
			continue
		}
		all[i].Do = func(ctx context.Context) error {
			ctx, step := tracing.Start(ctx, s.Name)
			began := time.Now()
			err := s.Do(ctx)
			step.End(err)
			t.Steps.Add(time.Since(began), s.Name, outcomeOf(err))
			return err
		}
	}
	return all
}
