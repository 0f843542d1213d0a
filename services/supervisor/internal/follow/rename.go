package follow

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Rename renames a container. DNS names of a running container change immediately. On failure it
// keeps the old name.
func (r *Follower) Rename(ctx context.Context, ref, name string) error {
	if err := container.ValidateName(name); err != nil {
		return err
	}

	c, unlock, err := r.FindAndLock(ctx, ref)
	if err != nil {
		return err
	}

	defer unlock()

	switch {
	case c.Config.Name == name:
		return fault.New(fault.Invalid, c.Subject(), "Renaming a container with the same name as its current name",
			fault.WithField("name"))
	case c.Status == container.Removing:
		return fault.New(fault.Conflict, c.Subject(), "is being removed")
	case !r.Names.Take(name):
		return container.NameTaken(name)
	}

	defer r.Names.Drop(name)

	ctx, cancel := agents.WithTimeout(context.WithoutCancel(ctx)) // a client that goes away does not leave it half done
	defer cancel()

	if !c.IsRunning() {
		if err := r.Store.RenameContainer(c.ID, name, nil); err != nil {
			return err
		}
	} else if err := r.renameRunning(ctx, c, name); err != nil {
		return err
	}

	r.Notices.Emit(c.WithName(name), "rename", "oldName", c.Config.Name)
	return nil
}

// renameRunning renames a running container.
// It stores the new name with a pending change, updates the services, and removes the pending
// change.
func (r *Follower) renameRunning(ctx context.Context, c *container.Container, name string) error {
	change := &container.Change{Renamed: true}
	if err := r.Store.RenameContainer(c.ID, name, change); err != nil {
		return err
	}

	err := r.updateName(ctx, c.WithName(name))
	if err == nil {
		if err := r.storeChange(c.ID, nil); err != nil {
			r.overrideChange(c.ID, nil) // the rename itself is complete
		}
		return nil
	}

	back, cancel := agents.WithTimeout(context.WithoutCancel(ctx))
	defer cancel()

	if berr := r.Store.RenameContainer(c.ID, c.Config.Name, change); berr != nil {
		return errors.Join(err, berr)
	}

	if berr := r.updateName(back, c); berr != nil {
		r.RequestSync()
		return errors.Join(err, berr)
	}

	return errors.Join(err, r.storeChange(c.ID, nil))
}

// updateName updates the container's name in dnsagent, netagent and natagent.
func (r *Follower) updateName(ctx context.Context, c *container.Container) error {
	if _, joined := c.Config.Network.Mode.Joined(); joined {
		return nil // the owner of the namespace has the sandbox
	}

	if err := (Egress{r}).enforce(ctx, c, c.Live); err != nil {
		return err
	}

	if _, err := r.Agents.CreateSandbox(ctx, c.ID, c.Config.Name, &c.Config.Network); err != nil {
		return err
	}

	if len(c.Live.Bindings) == 0 {
		return nil
	}

	_, err := r.publishMappings(ctx, c, c.Live, c.Republished(), false)
	return err
}
