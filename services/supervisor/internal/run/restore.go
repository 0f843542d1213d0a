package run

import (
	"context"
	"errors"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// unknownExitCode is the exit code if no monitor recorded the exit status, as after a power loss.
const unknownExitCode = 137

// Restore adopts running containers and removes the remains of interrupted operations.
// It must be called before all other methods, and does not change containers that match the store.
func (r *Runner) Restore(ctx context.Context) error {
	r.restoreJoins()
	var errs []error
	for _, c := range r.Store.ListContainers() {
		if err := r.restoreOne(ctx, c); err != nil {
			errs = append(errs, err)
			r.logFor(c.ID).Error("cannot restore container", "name", c.Config.Name, "status", c.Status, "error", err)
		}
	}

	if err := r.Sweep(ctx); err != nil {
		r.Log.Warn("first sweep incomplete", "error", err)
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
		r.logFor(c.ID).Info("removing interrupted launch or removal", "name", c.Config.Name, "status", c.Status)
		return r.remove(ctx, c)
	}
	return nil
}

// adopt resumes supervision of a container whose process may be running, exited, or lost.
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
			r.logFor(c.ID).Warn("cannot watch log, rotation loses output", "error", err)
		}
		r.logFor(c.ID).Info("adopted", "name", c.Config.Name, "pid", found.PID)
	case runtime.Ended:
		l.end(exitOf(found.Exit))
	default:
		l.end(container.Exit{Code: unknownExitCode, Unknown: true, At: time.Now()})
	}

	if isOver(l.ended) {
		if err := r.tryConclude(ctx, c.ID, l); err != nil {
			r.logFor(c.ID).Warn("cleanup incomplete, retrying", "error", err)
			go r.concludeUntilDone(c.ID, l)
		}
	}

	return nil
}

// releaseAll releases all resources of an owner, which need not be a stored container.
func (r *Runner) releaseAll(ctx context.Context, uid string) error {
	back := r.relaunch(placeholderContainer(uid))
	return errors.Join(back.release(ctx), saga.Undo(ctx, saga.UndoTimeout, back.processSteps("")))
}

// placeholderContainer returns a container for an owner of which only the ID is known. It may have
// published ports.
func placeholderContainer(uid string) *container.Container {
	return &container.Container{ID: uid, Config: container.Config{Network: container.Network{PublishAll: true}}}
}
