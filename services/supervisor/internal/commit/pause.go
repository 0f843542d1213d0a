package commit

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// pause freezes a container that runs. It returns false if the container does not run, or is paused
// already. The record is stored first: after a crash of the agent, package run unpauses it.
func (m *Commits) pause(ctx context.Context, c *container.Container) (bool, error) {
	unlock, err := m.cfg.Lives.Lock(ctx, c.ID)
	if err != nil {
		return false, err
	}
	defer unlock()

	changed := false
	_, err = m.cfg.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		if changed = c.IsRunning() && c.Live != nil && !c.IsPaused(); !changed {
			return nil
		}
		return c.PausedForCommit()
	})
	if err != nil || !changed {
		return false, err
	}

	if err := m.cfg.Processes.Pause(context.WithoutCancel(ctx), c.ID); err != nil {
		m.storeUnpaused(c)
		return false, err
	}
	m.cfg.Notices.Emit(c, "pause")
	return true, nil
}

// unpause ends the pause, unless it has ended meanwhile.
func (m *Commits) unpause(ctx context.Context, c *container.Container) {
	unlock, err := m.cfg.Lives.Lock(ctx, c.ID)
	if err != nil {
		return
	}
	defer unlock()

	now, err := m.cfg.Store.GetContainer(c.ID)
	if err != nil || !now.IsPausedForCommit() {
		return
	}
	if err := m.cfg.Processes.Unpause(ctx, c.ID); err != nil {
		m.cfg.Log.Warn("cannot unpause the container", "container", c.ID, "error", err)
		return
	}
	if m.storeUnpaused(c) {
		m.cfg.Notices.Emit(now, "unpause")
	}
}

// storeUnpaused records that the commit has ended its pause. It reports whether it is stored.
func (m *Commits) storeUnpaused(c *container.Container) bool {
	_, err := m.cfg.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		if !c.IsPausedForCommit() {
			return nil
		}
		return c.Paused(false)
	})
	if err != nil {
		m.cfg.Log.Warn("cannot store that the container is not paused", "container", c.ID, "error", err)
	}
	return err == nil
}
