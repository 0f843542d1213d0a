package run

import (
	"context"
	"errors"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// unknownExitCode is what an exit code is taken for when nobody saw it, as after the loss of power.
const unknownExitCode = 137

// Restore finds again what ran when the agent ended, however it ended, and clears what was half done. Nothing that is right is
// touched. It must be called before any other method, and returns when all of it is done.
func (r *Runner) Restore(ctx context.Context) error {
	r.restoreJoins()
	var errs []error
	for _, c := range r.Store.ListContainers() {
		if err := r.restoreOne(ctx, c); err != nil {
			errs = append(errs, err)
			r.logFor(c.ID).Error("cannot be restored", "name", c.Config.Name, "status", c.Status, "error", err)
		}
	}
	if err := r.Sweep(ctx); err != nil {
		r.Log.Warn("the first sweep left something", "error", err)
	}
	if ctx.Err() != nil {
		return errors.Join(errs...)
	}
	return nil
}

func (r *Runner) restoreOne(ctx context.Context, c *container.Container) error {
	switch c.Status {
	case container.Running:
		return r.adopt(ctx, c)
	case container.Launching, container.Removing:
		r.logFor(c.ID).Info("clearing what was half done", "name", c.Config.Name, "status", c.Status)
		return r.remove(ctx, c)
	}
	return nil
}

// adopt takes a container back whose process may run, may have ended in the meantime, or may be gone without a trace.
func (r *Runner) adopt(ctx context.Context, c *container.Container) error {
	l := r.lives.begin(c.ID)
	close(l.launched)
	found, err := r.Processes.Adopt(ctx, c.ID)
	if err != nil {
		return err
	}
	switch found.State {
	case runtime.Alive:
		if err := r.LogFiles.Track(r.containerDir(c.ID)); err != nil {
			r.logFor(c.ID).Warn("cannot watch the log, older output is lost at its next rotation", "error", err)
		}
		r.logFor(c.ID).Info("found again", "name", c.Config.Name, "pid", found.PID)
	case runtime.Ended:
		l.end(exitOf(found.Exit))
	default:
		l.end(container.Exit{Code: unknownExitCode, Unknown: true, At: time.Now()})
	}
	if isOver(l.ended) {
		if err := r.settleOnce(ctx, c.ID, l); err != nil {
			r.logFor(c.ID).Warn("the end of a container is not complete; trying again", "error", err)
			go r.settle(c.ID, l)
		}
	}
	return nil
}

// releaseAll gives back whatever an owner has, whether or not a container of that id is known.
func (r *Runner) releaseAll(ctx context.Context, uid string) error {
	back := r.relaunch(placeholderContainer(uid))
	return errors.Join(back.release(ctx), saga.Undo(ctx, saga.UndoTimeout, back.processSteps("")))
}

// placeholderContainer stands for an owner of which nothing but the id is known: it may have anything, published ports among it.
func placeholderContainer(uid string) *container.Container {
	return &container.Container{ID: uid, Config: container.Config{Network: container.Network{PublishAll: true}}}
}
