package run

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
)

// Resume completes stops, restarts and removals of an earlier supervisor in the background.
// It is called once the service is ready, as a start requires the other services.
func (r *Runner) Resume() {
	r.policies.atStart()
	for _, c := range r.Store.ListContainers() {
		if c.Ending == nil && c.Status != container.Removing {
			continue
		}
		go func() {
			if err := newRecovery(r).resume(r.running, c); err != nil && r.running.Err() == nil {
				r.logFor(c.ID).Warn("cannot complete request from before the restart", "name", c.Config.Name, "error",
					err)
			}
		}()
	}
}

func (r recovery) resume(ctx context.Context, c *container.Container) error {
	if c.Status == container.Removing {
		r.repeat(c.ID, func() error { return newConclusion(r.Runner).tryConclude(ctx, c.ID, concluded()) })
		return nil
	}

	e := *c.Ending
	r.logFor(c.ID).Info("completing request from before the restart", "name", c.Config.Name, "goal", e.Goal)
	l := r.lives.Of(c.ID)
	left := e.Left(time.Now(), c.StopTimeout())
	switch {
	case e.Goal == container.GoalRestarted:
		return newRestarter(r.Runner).retryRestart(ctx, c, e, left)
	case l == nil:
		return r.dropFailedRequest(c.ID, nil)
	case e.Goal == container.GoalRemoved:
		return r.dropFailedRequest(c.ID, r.kill(ctx, c, l))
	}

	return r.dropFailedRequest(c.ID, r.stop(ctx, c, l, e, left))
}

// concluded returns a lifecycle that is cleaned, for removeRemains.
func concluded() *lives.Run {
	l := lives.NewRun()
	close(l.Cleaned)
	return l
}
