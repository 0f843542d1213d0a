package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/supervisor/container"
	"github.com/fairlead/fairlead/services/supervisor/saga"
)

// Remove removes a container: the steps of its launch, walked backwards. One that runs is refused unless forced.
func (r *Runner) Remove(ctx context.Context, ref string, force bool) error {
	c, l, err := r.findLife(ref)
	if err != nil {
		return err
	}
	if l != nil {
		if !force {
			return fault.New(fault.Busy, c.Subject(),
				fmt.Sprintf("cannot remove container %q: container is running", c.Config.Name),
				fault.WithHint("stop the container before removing or force remove"))
		}
		if err := r.killAndWait(ctx, c, l); err != nil {
			return err
		}
	}
	unlock, err := r.lives.lock(ctx, c.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if c, err = r.Store.GetContainer(c.ID); err != nil {
		if l != nil && fault.Is(err, fault.NotFound) {
			return nil // it removed itself (--rm) when it was killed
		}
		return err
	}
	if c.IsRunning() {
		return fault.New(fault.Conflict, c.Subject(), "was started while it was being removed", fault.WithHint("try again"))
	}
	return r.remove(ctx, c)
}

// remove walks all steps of a launch backwards. The record goes last: until then a crash finds the container in status
// removing and goes on from there. The caller holds the lock.
func (r *Runner) remove(ctx context.Context, c *container.Container) error {
	if _, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		return c.InStatus(container.Removing)
	}); err != nil {
		return err
	}
	back := r.relaunch(c)
	if err := errors.Join(back.release(ctx), saga.Undo(ctx, saga.UndoTimeout, back.body("")), back.forget()); err != nil {
		return err
	}
	if err := r.Store.DeleteContainer(c.ID); err != nil {
		return err
	}
	if c.Status != container.Launching { // nobody was told of that
		r.tell(c, "destroy")
	}
	return nil
}

// stuck is the answer when SIGKILL does not end a process.
func stuck(c *container.Container) error {
	return fault.New(fault.Busy, c.Subject(), fmt.Sprintf("its process is still there %s after SIGKILL", killTimeout),
		fault.WithHint("it hangs in the kernel, mostly on a disk or network file system; see /proc/PID/stack"))
}
