package run

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Rename gives a container another name. If it runs, others find it by that at once. If anything fails, it keeps the old one.
func (r *Runner) Rename(ctx context.Context, ref, name string) error {
	if err := container.ValidateName(name); err != nil {
		return err
	}
	c, unlock, err := r.findAndLock(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	switch {
	case c.Config.Name == name:
		return fault.New(fault.Invalid, c.Subject(), "Renaming a container with the same name as its current name", fault.WithField("name"))
	case c.Status == container.Removing:
		return fault.New(fault.Conflict, c.Subject(), "is being removed")
	case !r.names.take(name):
		return nameTaken(name)
	}
	defer r.names.drop(name)
	ctx, cancel := withCallTimeout(context.WithoutCancel(ctx)) // a client that goes away does not leave it half done
	defer cancel()
	if !c.IsRunning() {
		if err := r.Store.RenameContainer(c.ID, name, nil); err != nil {
			return err
		}
	} else if err := r.renameRunning(ctx, c, name); err != nil {
		return err
	}
	r.emit(c.WithName(name), "rename", "oldName", c.Config.Name)
	return nil
}

// renameRunning stores the name with the intent to tell the others, tells them, and removes the intent.
func (r *Runner) renameRunning(ctx context.Context, c *container.Container, name string) error {
	change := &container.Change{Renamed: true}
	if err := r.Store.RenameContainer(c.ID, name, change); err != nil {
		return err
	}
	err := r.updateName(ctx, c.WithName(name))
	if err == nil {
		if err := r.intend(c.ID, nil); err != nil {
			r.instead(c.ID, nil) // all is done
		}
		return nil
	}
	back, cancel := withCallTimeout(context.WithoutCancel(ctx))
	defer cancel()
	if berr := r.Store.RenameContainer(c.ID, c.Config.Name, change); berr != nil {
		return errors.Join(err, berr)
	}
	if berr := r.updateName(back, c); berr != nil {
		r.hurry()
		return errors.Join(err, berr)
	}
	return errors.Join(err, r.intend(c.ID, nil))
}

// updateName has the services know what a running container is called: those on its networks ask for it by that name, and messages and
// rules name who holds what.
func (r *Runner) updateName(ctx context.Context, c *container.Container) error {
	if _, joined := c.Config.Network.Mode.Joined(); joined {
		return nil // it has nothing of its own there
	}
	if err := r.updateNames(ctx, c, c.Live); err != nil {
		return err
	}
	if _, err := r.Sandboxes.CreateSandbox(ctx, r.relaunch(c).sandboxRequest()); err != nil {
		return err
	}
	if len(c.Live.Bindings) == 0 {
		return nil
	}
	_, err := r.publishMappings(ctx, c, c.Live, c.Republished(), false)
	return err
}
