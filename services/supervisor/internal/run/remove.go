package run

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// Remove removes a container: the steps of its launch, walked backwards. One that runs is refused unless forced. It is completed though the
// client goes away, and by the next supervisor if this one is killed.
func (r *Runner) Remove(ctx context.Context, ref string, force bool) error {
	c, l, err := r.findLife(ref)
	if err != nil {
		return err
	}
	if l != nil && !isOver(l.ended) && !force {
		return isRunning(c)
	}
	return r.unattended(ctx, func(ctx context.Context) error {
		if l != nil && !isOver(l.ended) {
			if err := r.removeByForce(ctx, c, l); err != nil {
				return r.unlessGivenUp(c.ID, err)
			}
		}
		return r.removeAtRest(ctx, c, l != nil)
	})
}

func isRunning(c *container.Container) error {
	return fault.New(fault.Busy, c.Subject(), fmt.Sprintf("cannot remove container %q: container is running", c.Config.Name),
		fault.WithHint("stop the container before removing or force remove"))
}

// removeByForce ends a run, and its container with it: conclude does that, as the request is stored before the process is killed.
func (r *Runner) removeByForce(ctx context.Context, c *container.Container, l *lifecycle) error {
	if alive, err := r.awaitLaunch(ctx, l); err != nil || !alive {
		return err
	}
	if err := r.want(c.ID, container.Ending{Goal: container.GoalRemoved}); err != nil && !fault.Is(err, fault.NotFound) {
		r.logFor(c.ID).Warn("the request to remove it cannot be stored", "error", err) // on a full disk, removing is what helps
	}
	return r.kill(ctx, c, l)
}

// removeAtRest removes a container that does not run. One that is gone is an error for who did not see it run: then it went by itself, with
// --rm, or by rm -f.
func (r *Runner) removeAtRest(ctx context.Context, c *container.Container, ran bool) error {
	unlock, err := r.atRest(ctx, c.ID)
	if fault.Is(err, fault.Unavailable) && r.makeRoom(c.ID) {
		unlock, err = r.atRest(ctx, c.ID)
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
	case now.IsRunning():
		return fault.New(fault.Conflict, c.Subject(), "was started while it was being removed", fault.WithHint("try again"))
	}
	err = r.remove(ctx, now)
	if fault.Is(err, fault.Unavailable) && r.makeRoom(c.ID) {
		err = r.remove(ctx, now)
	}
	if err != nil { // what was begun is completed when it can be
		go r.repeat(c.ID, func() error { return r.settleOnce(r.running, c.ID, concluded()) })
	}
	return err
}

// makeRoom removes the log of a container that is being removed, as that may be what has filled the disk which the store is on. It
// reports whether there was one.
func (r *Runner) makeRoom(uid string) bool { return os.Remove(r.LogPath(uid)) == nil }

// remove walks all steps of a launch backwards. The record goes last: until then a crash finds the container in status
// removing and goes on from there. The caller holds the lock.
func (r *Runner) remove(ctx context.Context, c *container.Container) error {
	if c.Status != container.Removing {
		if _, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
			return c.InStatus(container.Removing)
		}); err != nil {
			return err
		}
	}
	back := r.relaunch(c)
	if err := errors.Join(back.release(ctx), saga.Undo(ctx, saga.UndoTimeout, back.processSteps("")), back.forget()); err != nil {
		return err
	}
	if err := r.Store.DeleteContainer(c.ID); err != nil {
		return err
	}
	if c.Status != container.Launching { // nobody was told of that
		r.emit(c, "destroy")
	}
	return nil
}
