package run

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Resume completes in the background what an earlier supervisor was asked for and had not completed when it ended: stops, restarts and
// removals. It is called once the service is ready, as a start needs the other services.
func (r *Runner) Resume() {
	for _, c := range r.Store.ListContainers() {
		if c.Ending == nil && c.Status != container.Removing {
			continue
		}
		go func() {
			if err := r.resume(r.running, c); err != nil && r.running.Err() == nil {
				r.logFor(c.ID).Warn("what was requested before the restart cannot be completed", "name", c.Config.Name, "error", err)
			}
		}()
	}
}

func (r *Runner) resume(ctx context.Context, c *container.Container) error {
	if c.Status == container.Removing {
		r.repeat(c.ID, func() error { return r.settleOnce(ctx, c.ID, concluded()) })
		return nil
	}
	e := *c.Ending
	r.logFor(c.ID).Info("completing what was requested before the restart", "name", c.Config.Name, "goal", e.Goal)
	l := r.lives.of(c.ID)
	left := e.Left(time.Now(), c.StopTimeout())
	switch {
	case e.Goal == container.GoalRestarted:
		return r.restartAgain(ctx, c, e, left)
	case l == nil:
		return r.unlessGivenUp(c.ID, nil)
	case e.Goal == container.GoalRemoved:
		return r.unlessGivenUp(c.ID, r.kill(ctx, c, l))
	}
	return r.unlessGivenUp(c.ID, r.stop(ctx, c, l, e, left))
}

// restartPatience is how long a restart is tried again while other services are not ready.
const restartPatience = 2 * time.Minute

// restartAgain completes a restart; the other services may still be starting, too.
func (r *Runner) restartAgain(ctx context.Context, c *container.Container, e container.Ending, left time.Duration) error {
	for deadline := time.Now().Add(restartPatience); ; pause(ctx, time.Second) {
		_, err := r.restart(ctx, c, e, left)
		if err == nil || !fault.Is(err, fault.Unavailable) || ctx.Err() != nil || time.Now().After(deadline) {
			return r.unlessGivenUp(c.ID, err)
		}
	}
}

// concluded is a run of which nothing is left but, perhaps, what tidy removes.
func concluded() *lifecycle {
	l := newLife()
	close(l.cleaned)
	return l
}
