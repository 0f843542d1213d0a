package run

import (
	"context"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
)

// Pause freezes the processes of a running container. The record is stored first: an interrupted
// pause is completed after a restart of the agent.
func (r *Runner) Pause(ctx context.Context, ref string) error {
	c, unlock, err := r.lockRunning(ctx, ref)
	if err != nil {
		return err
	}

	defer unlock()

	if c.IsPaused() {
		return busy(c, "Container "+c.Config.Name+" is already paused", "")
	}

	if err := r.storePaused(c.ID, true); err != nil {
		return err
	}

	if err := r.Processes.Pause(context.WithoutCancel(ctx), c.ID); err != nil {
		if serr := r.storePaused(c.ID, false); serr != nil {
			r.logFor(c.ID).Warn("cannot store that the container is not paused", "error", serr)
		}
		return err
	}

	r.notices.Emit(c, "pause")
	return nil
}

// Unpause thaws the processes of a paused container.
func (r *Runner) Unpause(ctx context.Context, ref string) error {
	c, unlock, err := r.lockRunning(ctx, ref)
	if err != nil {
		return err
	}

	defer unlock()

	if !c.IsPaused() {
		return busy(c, "Container "+c.Config.Name+" is not paused", "")
	}

	if err := r.Processes.Unpause(context.WithoutCancel(ctx), c.ID); err != nil {
		return err
	}

	if err := r.storePaused(c.ID, false); err != nil {
		return err
	}

	r.notices.Emit(c, "unpause")
	return nil
}

// lockRunning finds and locks a container whose process runs.
func (r *Runner) lockRunning(ctx context.Context, ref string) (*container.Container, func(), error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, nil, err
	}

	unlock, err := r.lockStopped(ctx, c.ID)
	if err != nil {
		return nil, nil, err
	}

	if c, err = r.Store.GetContainer(c.ID); err == nil {
		err = checkRunning(c)
	}

	if err != nil {
		unlock()
		return nil, nil, err
	}

	return c, unlock, nil
}

// checkRunning returns a fault unless the process of a container runs.
func checkRunning(c *container.Container) error {
	switch {
	case c.Status == container.Restarting:
		return busy(c, "Container "+c.ID+" is restarting, wait until the container is running", "")
	case !c.IsRunning():
		return container.NotRunning(c.Subject(), c.ID)
	}
	return nil
}

func busy(c *container.Container, text, hint string) error {
	if hint == "" {
		return fault.New(fault.Busy, c.Subject(), text)
	}
	return fault.New(fault.Busy, c.Subject(), text, fault.WithHint("%s", hint))
}

func (r *Runner) storePaused(uid string, paused bool) error {
	_, err := r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
		if !c.IsRunning() || c.IsPaused() == paused {
			return nil
		}
		return c.Paused(paused)
	})
	return err
}

// thawed records that a signal that ends a paused container has thawed it.
func (r *Runner) thawed(uid string, l *lives.Run) {
	c, err := r.Store.GetContainer(uid)
	if err != nil || !c.IsPaused() || lives.IsOver(l.Ended) {
		return
	}
	if err := r.storePaused(uid, false); err != nil {
		r.logFor(uid).Warn("cannot store that the container is not paused", "container", id.Short(uid), "error", err)
		return
	}
	r.notices.Emit(c, "unpause")
}
