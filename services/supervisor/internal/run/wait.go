package run

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
)

// Wait returns the exit status of the current run, otherwise of the last one. It returns after the
// exit is stored.
func (r *Runner) Wait(ctx context.Context, ref string) (container.Exit, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return container.Exit{}, err
	}

	if l := r.lives.Of(c.ID); l != nil {
		return waitExit(ctx, l, c)
	}

	if now, err := r.Store.GetContainer(c.ID); err == nil {
		c = now
	} else if c.IsRunning() {
		return container.Exit{}, err // it was removed meanwhile, with its exit status
	}

	return container.Exit{Code: c.ExitCode, Unknown: c.ExitUnknown, OOM: c.OOMKilled, At: c.FinishedAt}, nil
}

func waitExit(ctx context.Context, l *lives.Run, c *container.Container) (container.Exit, error) {
	select {
	case <-l.Exited:
		return l.Exit, nil
	case <-ctx.Done():
		return container.Exit{}, ctx.Err()
	case <-l.Launched:
	}

	if l.Failed {
		return container.Exit{}, container.NotRunning(c.Subject(), id.Short(c.ID))
	}

	select {
	case <-l.Exited:
		return l.Exit, nil
	case <-ctx.Done():
		return container.Exit{}, ctx.Err()
	}
}

// waitCleaned waits until a run is cleaned up, or until its exit is reported and cannot be stored.
func waitCleaned(ctx context.Context, l *lives.Run, limit time.Duration) (over bool, err error) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-l.Cleaned:
		return true, nil
	case <-l.Refused:
		return true, nil
	case <-t.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// ExitOf waits for the exit of a launched run, even if the container was restarted or removed
// since.
func (r *Runner) ExitOf(ctx context.Context, launched *launch.Launched) (container.Exit, error) {
	if launched.Run == nil { // it exited between lookup and attach
		return r.Wait(ctx, launched.Container.ID)
	}
	return waitExit(ctx, launched.Run, launched.Container)
}
