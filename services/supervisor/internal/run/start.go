package run

import (
	"context"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
)

// Run creates a container and starts it. It removes everything it created on failure.
func (r *Runner) Run(ctx context.Context, req launch.Request) (*launch.Launched, error) {
	return r.launcher.Run(ctx, req)
}

// Create creates a container without starting it.
func (r *Runner) Create(ctx context.Context, req launch.Request) (*launch.Launched, error) {
	return r.launcher.Create(ctx, req)
}

// Start starts a container. It does nothing if the container is running, or connects to its streams
// if attach is set.
func (r *Runner) Start(ctx context.Context, ref string, attach bool, rows, cols uint16) (*launch.Launched, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}

	failed := false
	defer func() {
		if failed {
			removeUnstarted(ctx, r, c)
		}
	}()
	unlock, err := r.lockStopped(ctx, c.ID)
	if err != nil {
		return nil, err
	}

	defer unlock()

	if c, err = r.Store.GetContainer(c.ID); err != nil {
		return nil, err
	}

	if c, err = r.Completed(ctx, c); err != nil {
		return nil, err
	}

	if c.IsPaused() {
		return nil, busy(c, "cannot start a paused container, try unpause instead", "")
	}

	if c.Status == container.Restarting {
		if attach {
			return nil, checkRunning(c)
		}
		return &launch.Launched{Container: c, WasRunning: true}, nil
	}

	if c.IsRunning() {
		if !attach {
			return &launch.Launched{Container: c, WasRunning: true}, nil
		}
		if launched, err := r.attachUnlessEnding(ctx, c, rows, cols); launched != nil || err != nil {
			return launched, err
		}
	}

	launched, err := r.launcher.Start(ctx, c.ID, launch.StartOptions{Attach: attach, Rows: rows, Cols: cols})
	failed = err != nil
	return launched, err
}

// removeUnstarted removes a container with --rm that could not be started, as in Docker: clients wait
// for its removal. The container's lock must not be held.
func removeUnstarted(ctx context.Context, r *Runner, c *container.Container) {
	if !c.RemovesItself() {
		return
	}
	err := r.Remove(context.WithoutCancel(ctx), c.ID, false, true)
	if err != nil && !fault.Is(err, fault.NotFound) {
		r.logFor(c.ID).Warn("container not removed after a failed start", "error", err)
	}
}

// attachUnlessEnding connects to a running container. The container's lock must be held.
// If the process has exited meanwhile, it concludes the run and returns nil.
func (r *Runner) attachUnlessEnding(ctx context.Context, c *container.Container, rows, cols uint16) (*launch.Launched,
	error) {
	launched, err := r.AttachTo(ctx, c, rows, cols)
	if err == nil || !r.IsEnding(ctx, c.ID) {
		return launched, err
	}
	return nil, newConclusion(r).conclude(ctx, c.ID, r.lives.Of(c.ID))
}
