package run

import (
	"context"
	"errors"
	"sync"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// sharedNetns holds the containers that joined the network namespace of another container.
// Joining and leaving require the lock of the namespace's owner, so that no container joins a
// namespace that is being released.
type sharedNetns struct {
	mu    sync.Mutex
	owner map[string]string // by joined container
}

func newJoins() *sharedNetns { return &sharedNetns{owner: map[string]string{}} }

func (j *sharedNetns) add(uid, owner string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.owner[uid] = owner
}

// drop removes a joined container and returns its owner, empty if it has joined none.
func (j *sharedNetns) drop(uid string) (owner string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	owner = j.owner[uid]
	delete(j.owner, uid)
	return owner
}

// any reports whether any container has joined the owner's namespace.
func (j *sharedNetns) any(owner string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.owner {
		if o == owner {
			return true
		}
	}
	return false
}

// joinNamespace joins the network namespace of another container.
// The namespace is kept, with lo only, when its owner exits, and reconnected when the owner starts
// again.
func (l *launch) joinNamespace(after, with string) saga.Step {
	return saga.Step{
		Name: joinNetwork, After: needs(after),
		Do: func(ctx context.Context) error {
			live, err := l.r.join(ctx, l.id, with)
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
			ctx, cancel := withCallTimeout(ctx)
			defer cancel()
			hostname, err := l.utsName()
			if err != nil {
				return err
			}
			resp, err := l.r.Names.Register(ctx,
				&dnsv1.RegisterRequest{Owner: l.id, FileSource: dnsv1.FileSource_FILE_SOURCE_SHARED,
					SharesWith: l.live.SharedWith, Hostname: hostname})
			if err != nil {
				return err
			}
			l.live.Files = nameFiles(resp.GetFiles())
			return nil
		},
		Undo: func(ctx context.Context) error {
			_, err := l.r.Names.Release(ctx, &dnsv1.ReleaseRequest{Owner: l.id})
			return err
		},
	}
}

// join records that a container joins a network namespace, and returns the state of the joined
// container.
func (r *Runner) join(ctx context.Context, uid, with string) (container.RunState, error) {
	if with == uid {
		return container.RunState{},
			fault.Invalidf(container.Subject(id.Short(uid)), "network", "cannot join own network namespace")
	}

	c, err := r.runningOwner(with)
	if err != nil {
		return container.RunState{}, err
	}

	unlock, err := r.lives.lock(ctx, ownerOf(c))
	if err != nil {
		return container.RunState{}, err
	}

	defer unlock()

	if c, err = r.runningOwner(with); err != nil { // it may have exited meanwhile
		return container.RunState{}, err
	}

	live := *c.Live
	live.SharedWith = ownerOf(c)
	r.joins.add(uid, live.SharedWith)
	return live, nil
}

// runningOwner returns the container to join if it is running.
func (r *Runner) runningOwner(uid string) (*container.Container, error) {
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
func (r *Runner) leave(ctx context.Context, uid string) error {
	owner := r.joins.drop(uid)
	if owner == "" || r.joins.any(owner) {
		return nil
	}

	unlock, err := r.lives.lock(ctx, owner)
	if err != nil {
		return err
	}

	defer unlock()

	if r.joins.any(owner) || r.lives.of(owner) != nil {
		return nil
	}

	_, gone := r.Store.GetContainer(owner)
	_, err = r.Sandboxes.Release(ctx, &networkv1.ReleaseRequest{Owner: owner, KeepAddresses: gone == nil})
	_, nerr := r.Names.Release(ctx, &dnsv1.ReleaseRequest{Owner: owner})
	return errors.Join(err, nerr, r.NameFiles.Unmount(owner))
}

// of returns the containers that joined the owner's namespace.
func (j *sharedNetns) of(owner string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for uid, o := range j.owner {
		if o == owner {
			out = append(out, uid)
		}
	}
	return out
}

// detachSharers makes the joined containers owners of the namespace, with lo only.
func (r *Runner) detachSharers(ctx context.Context, owner string) error {
	if !r.joins.any(owner) {
		return nil
	}

	if _, err := r.Sandboxes.Release(ctx,
		&networkv1.ReleaseRequest{Owner: owner, KeepNamespace: true, KeepAddresses: true}); err != nil {
		return err
	}

	var errs []error
	for _, uid := range r.joins.of(owner) {
		_, err := r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
			if !c.IsRunning() {
				return nil // its launch fails, as the namespace no longer exists
			}
			r.joins.drop(uid)
			return c.WithOwnNetns()
		})
		errs = append(errs, err)
	}

	return errors.Join(errs...)
}

// restoreJoins restores the joined containers from the store.
func (r *Runner) restoreJoins() {
	for _, c := range r.Store.ListContainers() {
		if c.IsRunning() && c.Live != nil && c.Live.SharedWith != "" {
			r.joins.add(c.ID, c.Live.SharedWith)
		}
	}
}
