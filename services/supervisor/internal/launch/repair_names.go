package launch

import (
	"context"
	"errors"
	"slices"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// RepairNames registers running containers that dnsagent has lost, as after a restored backup.
func (r *Launcher) RepairNames(ctx context.Context) error {
	bounded, cancel := agents.WithTimeout(ctx)
	defer cancel()

	known, err := r.Agents.NameOwners(bounded)
	if err != nil {
		return err
	}

	var errs []error
	for _, shared := range []bool{false, true} { // joined containers need their owner
		for _, c := range r.Store.ListContainers() {
			if c.IsRunning() && c.Live != nil && (c.Live.SharedWith != "") == shared && !slices.Contains(known, c.ID) {
				errs = append(errs, r.repairNamesOf(ctx, c.ID))
			}
		}
	}

	return errors.Join(errs...)
}

func (r *Launcher) repairNamesOf(ctx context.Context, uid string) error {
	unlock, err := r.Lives.Lock(ctx, uid)
	if err != nil {
		return err
	}

	defer unlock()

	c, err := r.Store.GetContainer(uid)
	if err != nil || !c.IsRunning() || c.Live == nil {
		return nil // it has exited meanwhile
	}

	l := r.relaunch(c)
	l.live = *c.Live
	if err := l.mountNames("").Do(ctx); err != nil {
		return err
	}

	if err := l.namesStep().Do(ctx); err != nil {
		return err
	}

	r.LogFor(uid).Warn("names of running container lost, registered again", "name", c.Config.Name)
	if l.live.Files == c.Live.Files {
		return nil
	}

	_, err = r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
		if !c.IsRunning() {
			return nil
		}
		repaired, live := *c, *c.Live
		live.Files = l.live.Files
		repaired.Live = &live
		return &repaired
	})

	return err
}

// namesStep returns the step that registers the names of the container.
func (l *launch) namesStep() saga.Step {
	if l.live.SharedWith != "" {
		return l.shareNames()
	}
	return l.registerNames()
}
