package run

import (
	"context"
	"errors"
	"slices"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// healNames registers running containers again that dnsagent does not know, as after its state was lost or put back. What is stored here
// says all of it.
func (r *Runner) healNames(ctx context.Context) error {
	bounded, cancel := withCallTimeout(ctx)
	defer cancel()
	known, err := r.nameOwners(bounded)
	if err != nil {
		return err
	}
	var errs []error
	for _, shared := range []bool{false, true} { // those that share need the others
		for _, c := range r.Store.ListContainers() {
			if c.IsRunning() && c.Live != nil && (c.Live.SharedWith != "") == shared && !slices.Contains(known, c.ID) {
				errs = append(errs, r.healNamesOf(ctx, c.ID))
			}
		}
	}
	return errors.Join(errs...)
}

func (r *Runner) healNamesOf(ctx context.Context, uid string) error {
	unlock, err := r.lives.lock(ctx, uid)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := r.Store.GetContainer(uid)
	if err != nil || !c.IsRunning() || c.Live == nil {
		return nil // it has ended meanwhile
	}
	l := r.relaunch(c)
	l.live = *c.Live
	if err := l.mountNames("").Do(ctx); err != nil {
		return err
	}
	if err := l.namesStep().Do(ctx); err != nil {
		return err
	}
	r.logFor(uid).Warn("names of a running container were lost, registered again", "name", c.Config.Name)
	if l.live.Files == c.Live.Files {
		return nil
	}
	_, err = r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
		if !c.IsRunning() {
			return nil
		}
		healed, live := *c, *c.Live
		live.Files = l.live.Files
		healed.Live = &live
		return &healed
	})
	return err
}

// namesStep is the step that registers the names of the container.
func (l *launch) namesStep() saga.Step {
	if l.live.SharedWith != "" {
		return l.shareNames()
	}
	return l.registerNames()
}
