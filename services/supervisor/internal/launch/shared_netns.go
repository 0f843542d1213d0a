package launch

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// joinNamespace joins the network namespace of another container.
// The namespace is kept, with lo only, when its owner exits, and reconnected when the owner starts
// again.
func (l *launch) joinNamespace(after, with string) saga.Step {
	return saga.Step{
		Name: joinNetwork, After: needs(after),
		Do: func(ctx context.Context) error {
			live, err := l.r.join(ctx, l, with)
			if err != nil {
				return err
			}
			l.live.NetnsPath, l.live.SharedWith = live.NetnsPath, live.SharedWith
			return nil
		},
		Undo: func(ctx context.Context) error { return l.r.leave(ctx, l.id) },
	}
}

// shareNames registers a joined container in dnsagent.
// Its name files have its own host name, and all else from the owner of the namespace.
func (l *launch) shareNames() saga.Step {
	return saga.Step{
		Name: registerNames, After: []string{mountNames, joinNetwork},
		Do: func(ctx context.Context) error {
			ctx, cancel := agents.WithTimeout(ctx)
			defer cancel()
			hostname, err := l.utsName()
			if err != nil {
				return err
			}
			files, err := l.r.Agents.RegisterShared(ctx, l.id, l.live.SharedWith, hostname)
			if err != nil {
				return err
			}
			l.live.Files = files
			return nil
		},
		Undo: func(ctx context.Context) error { return l.r.Agents.Unregister(ctx, l.id) },
	}
}

// join records that a container joins a network namespace, and returns the state of the joined
// container.
func (r *Launcher) join(ctx context.Context, l *launch, with string) (container.RunState, error) {
	if with == l.id {
		return container.RunState{},
			fault.Invalidf(container.Subject(id.Short(l.id)), "network", "cannot join own network namespace")
	}

	c, err := r.runningOwner(with)
	if err != nil {
		return container.RunState{}, err
	}

	unlock, err := r.Lives.Lock(ctx, ownerOf(c))
	if err != nil {
		return container.RunState{}, err
	}

	defer unlock()

	if c, err = r.runningOwner(with); err != nil { // it may have exited meanwhile
		return container.RunState{}, err
	}

	live := *c.Live
	live.SharedWith = ownerOf(c)
	if err := r.Policies.CheckPrivileges(live.SharedWith, l.name, &l.req.Config.Security); err != nil {
		return container.RunState{}, err
	}
	r.Joins.Add(l.id, live.SharedWith)
	return live, nil
}

// runningOwner returns the container to join if it is running.
func (r *Launcher) runningOwner(uid string) (*container.Container, error) {
	c, err := r.Store.GetContainer(uid)
	if err != nil {
		return nil, joinTargetFault(id.Short(uid))
	}
	if !c.IsRunning() {
		return nil, fault.New(fault.Busy, c.Subject(),
			"cannot join network namespace of a non running container: container "+c.Config.Name+
				" is "+string(c.Status), fault.WithField("network"), fault.WithHint("start it first"))
	}
	return c, nil
}

func joinTargetFault(ref string) error {
	return fault.New(fault.NotFound, container.Subject(ref),
		"joining network namespace of container: No such container: "+ref, fault.WithField("network"))
}

// ownerOf returns the owner of the network namespace of a running container.
func ownerOf(c *container.Container) string {
	if c.Live.SharedWith != "" {
		return c.Live.SharedWith
	}
	return c.ID
}

// leave removes a container from the namespace it joined. The last one releases the namespace if
// its owner is not running.
func (r *Launcher) leave(ctx context.Context, uid string) error {
	owner := r.Joins.Drop(uid)
	if owner == "" || r.Joins.Any(owner) {
		return nil
	}

	unlock, err := r.Lives.Lock(ctx, owner)
	if err != nil {
		return err
	}

	defer unlock()

	if r.Joins.Any(owner) || r.Lives.Of(owner) != nil {
		return nil
	}

	_, gone := r.Store.GetContainer(owner)
	err = errors.Join(r.Agents.ReleaseSandbox(ctx, owner, agents.Kept{Addresses: gone == nil}),
		r.Agents.Unregister(ctx, owner), r.NameFiles.Unmount(owner))
	if err != nil {
		return err
	}
	if had, err := r.Policies.Leave(ctx, owner); !had || err != nil {
		return err
	}
	return r.Agents.DeletePolicy(ctx, owner) // if the end of the owner could not
}

// detachSharers makes the joined containers owners of the namespace, with lo only.
func (r *Launcher) detachSharers(ctx context.Context, owner string) error {
	if !r.Joins.Any(owner) {
		return nil
	}

	if err := r.Agents.ReleaseSandbox(ctx, owner, agents.Kept{Namespace: true, Addresses: true}); err != nil {
		return err
	}

	var errs []error
	for _, uid := range r.Joins.Of(owner) {
		_, err := r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
			if !c.IsRunning() {
				return nil // its launch fails, as the namespace no longer exists
			}
			r.Joins.Drop(uid)
			return c.WithOwnNetns()
		})
		errs = append(errs, err)
	}

	return errors.Join(errs...)
}
