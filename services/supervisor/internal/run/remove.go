package run

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
)

// Remove removes a container by undoing the steps of its launch, and with withVolumes its anonymous
// volumes that no other container uses. A running container requires force. It is completed even if
// the client disconnects, and by the next supervisor if this one is killed.
func (r *Runner) Remove(ctx context.Context, ref string, force, withVolumes bool) error {
	c, l, err := r.findLife(ref)
	if err != nil {
		return err
	}

	if l != nil && !lives.IsOver(l.Ended) && !force {
		return isRunning(c)
	}

	if c.Status == container.Restarting && !force {
		return isRunning(c)
	}

	return r.runDetached(ctx, func(ctx context.Context) error {
		if err := r.storeVolumeRemoval(c, withVolumes); err != nil {
			return err
		}
		if l != nil && !lives.IsOver(l.Ended) {
			if err := r.killAndRemove(ctx, c, l); err != nil {
				return r.dropFailedRequest(c.ID, err)
			}
		}
		return r.removeStopped(ctx, c, l != nil, force)
	})
}

// storeVolumeRemoval stores whether the anonymous volumes of a container are removed with it.
func (r *Runner) storeVolumeRemoval(c *container.Container, remove bool) error {
	if c.RemoveVolumes == remove || len(c.AnonymousVolumes()) == 0 {
		return nil
	}
	_, err := r.Store.UpdateContainer(c.ID,
		func(c *container.Container) *container.Container { return c.WithVolumesRemoved(remove) })
	return err
}

// removeVolumes deletes the volumes that were marked with the deletion of a container. The sweep
// repeats it.
func (r *Runner) removeVolumes(ctx context.Context) {
	if err := r.Volumes.RemoveMarked(ctx); err != nil {
		r.Log.Warn("volumes not removed, retrying", "error", err)
	}
}

func isRunning(c *container.Container) error {
	hint := "stop the container before removing or force remove"
	if c.IsPaused() {
		hint = "unpause and then " + hint
	}
	return busy(c, fmt.Sprintf("cannot remove container %q: container is %s", c.Config.Name, c.State()), hint)
}

// killAndRemove kills the process. conclude removes the container, as the request is stored before.
func (r *Runner) killAndRemove(ctx context.Context, c *container.Container, l *lives.Run) error {
	l.Quit.Store(true)
	if alive, err := awaitLaunch(ctx, l); err != nil || !alive {
		return err
	}
	if err := r.storeRequest(c.ID, container.Ending{Goal: container.GoalRemoved}); err != nil &&
		!fault.Is(err, fault.NotFound) {
		r.logFor(c.ID).Warn("cannot store remove request", "error", err) // continue: removal frees a full disk
	}
	return r.kill(ctx, c, l)
}

// removeStopped removes a container that is not running. ran reports whether the caller saw it
// running. In that case a missing container is no error, as --rm or rm -f removed it.
func (r *Runner) removeStopped(ctx context.Context, c *container.Container, ran, force bool) error {
	unlock, err := r.lockStopped(ctx, c.ID)
	if fault.Is(err, fault.Unavailable) && r.removeLog(c.ID) {
		unlock, err = r.lockStopped(ctx, c.ID)
	}

	if err != nil {
		return err
	}

	defer unlock()

	now, err := r.Store.GetContainer(c.ID)
	switch {
	case fault.Is(err, fault.NotFound) && ran:
		return nil
	case err != nil:
		return err
	case now.Status == container.Restarting && !force:
		return isRunning(now)
	case now.IsRunning():
		return fault.New(fault.Conflict, c.Subject(), "was started during its removal", fault.WithHint("try again"))
	}

	err = r.remove(ctx, now)
	if fault.Is(err, fault.Unavailable) && r.removeLog(c.ID) {
		err = r.remove(ctx, now)
	}

	if err != nil { // completed in the background
		_ = r.Store.ShowContainer(c.ID, func(c *container.Container) *container.Container {
			dead := *c
			dead.Dead = c.Status == container.Removing
			return &dead
		})
		go r.repeat(c.ID, func() error { return newConclusion(r).tryConclude(r.running, c.ID, concluded()) })
	}

	return err
}

// removeLog deletes the log of a container that is being removed, to free space for the store. It
// returns false without a log.
func (r *Runner) removeLog(uid string) bool { return os.Remove(r.launcher.LogPath(uid)) == nil }

// remove undoes all steps of a launch. The container's lock must be held.
// The record is deleted last, so that a restart continues a removal that a crash interrupted.
func (r *Runner) remove(ctx context.Context, c *container.Container) error {
	if c.Status != container.Removing {
		if _, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
			return c.InStatus(container.Removing)
		}); err != nil {
			return err
		}
	}

	if err := errors.Join(r.launcher.Release(ctx, c), r.launcher.Delete(ctx, c),
		r.launcher.RemoveFiles(c.ID)); err != nil {
		return err
	}

	if err := r.Store.DeleteContainer(c.ID); err != nil {
		return err
	}
	r.removeVolumes(ctx)

	r.lives.NotifyRemoved(c.ID, exitStatus(c))
	if c.Status != container.Launching { // its creation was not announced by an event
		r.notices.Emit(c, "destroy")
	}

	return nil
}
