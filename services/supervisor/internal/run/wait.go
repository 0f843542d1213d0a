package run

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
)

// Condition is the state that Wait waits for.
type Condition int

// Conditions.
const (
	NotRunning Condition = iota
	NextExit             // the current run, or else the next one, has exited
	Removed              // the container is removed
)

// Wait waits for a condition and returns the exit status of the last run. It returns after the exit
// is stored. waiting is called when no later exit can be missed; it can be nil.
func (r *Runner) Wait(ctx context.Context, ref string, until Condition, waiting func()) (container.Exit, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return container.Exit{}, err
	}

	w := r.lives.Watch(c.ID)
	defer w.Close()

	current := r.lives.Of(c.ID) // before waiting, so that it is not a later run
	if waiting != nil {
		waiting()
	}

	if until == Removed {
		return r.waitRemoved(ctx, c, w)
	}

	if l := current; l != nil {
		exit, err := waitExit(ctx, l, c)
		if err == nil || until == NotRunning || ctx.Err() != nil {
			return exit, err
		}
	}

	now, err := r.Store.GetContainer(c.ID)
	switch {
	case err == nil:
		c = now
	case c.IsRunning() || until == NextExit:
		return container.Exit{}, err // it was removed meanwhile, with its exit status
	}

	if until == NextExit || c.Status == container.Restarting {
		return r.waitNext(ctx, c, w)
	}

	return exitStatus(c), nil
}

// waitNext waits for the end of the next run, or for the removal of the container.
func (r *Runner) waitNext(ctx context.Context, c *container.Container, w *lives.Watcher) (container.Exit, error) {
	for {
		select {
		case l := <-w.Begun:
			exit, err := waitExit(ctx, l, c)
			if err == nil || ctx.Err() != nil {
				return exit, err
			}
		case exit := <-w.Removed:
			return exit, nil
		case <-w.Stopped: // it does not wait for its restart any more
			if now, err := r.Store.GetContainer(c.ID); err == nil {
				return exitStatus(now), nil
			}
		case <-ctx.Done():
			return container.Exit{}, ctx.Err()
		}
	}
}

// waitRemoved waits until a container is removed.
func (r *Runner) waitRemoved(ctx context.Context, c *container.Container, w *lives.Watcher) (container.Exit, error) {
	if _, err := r.Store.GetContainer(c.ID); err != nil {
		return exitStatus(c), nil // removed meanwhile
	}
	select {
	case exit := <-w.Removed:
		return exit, nil
	case <-ctx.Done():
		return container.Exit{}, ctx.Err()
	}
}

func exitStatus(c *container.Container) container.Exit {
	return container.Exit{Code: c.ExitCode, Unknown: c.ExitUnknown, OOM: c.OOMKilled, At: c.FinishedAt}
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
		return r.Wait(ctx, launched.Container.ID, NotRunning, nil)
	}
	return waitExit(ctx, launched.Run, launched.Container)
}
