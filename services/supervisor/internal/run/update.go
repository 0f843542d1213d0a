package run

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Changes are the changes of an update. nil fields do not change.
type Changes struct {
	Restart *container.RestartPolicy
}

// Update changes the configuration of a container, running or not. On failure nothing changes.
func (r *Runner) Update(ctx context.Context, ref string, changes Changes) (warnings []string, err error) {
	c, unlock, err := r.FindAndLock(ctx, ref)
	if err != nil {
		return nil, err
	}

	defer unlock()

	if c.Status == container.Removing {
		return nil, busy(c, "container is marked for removal and cannot be updated", "")
	}

	if changes.Restart != nil {
		if err := changes.Restart.Validate(c.Subject(), c.Config.AutoRemove); err != nil {
			return nil, err
		}
	}

	now, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		n := *c
		if changes.Restart != nil {
			n.Config.Restart, n.Restarts.Count, n.Restarts.Delay = *changes.Restart, 0, 0
		}
		if n.Config.Restart.IsNone() {
			return n.NotRestarted(false)
		}
		return &n
	})
	if err != nil {
		return nil, err
	}

	r.notices.Emit(now, "update")
	return nil, nil
}
