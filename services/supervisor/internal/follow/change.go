package follow

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// A change of a container's networks updates four stores. The pending change is stored first, then
// netagent, dnsagent and natagent are updated, and the last commit stores the configuration and
// removes the pending change. If a step fails, all steps are undone, each with its own timeout. A
// pending change that remains after a crash or a failed undo is completed by complete.

// connect connects a running container to a network. The container's lock must be held.
func (r *Follower) connect(ctx context.Context, c *container.Container, a container.Attachment) error {
	if err := r.storeChange(c.ID, &container.Change{Network: a.Network, Connect: &a}); err != nil {
		return err
	}

	sandbox, err := Egress{r}.connect(ctx, c, a)
	if err == nil {
		err = r.applySandbox(ctx, c, sandbox,
			func(c *container.Container, live *container.RunState) *container.Container {
				return c.Connected(a, live)
			}, nil)
	}

	if err == nil {
		return nil
	}

	return errors.Join(err, r.undo(ctx, c, &container.Change{Network: a.Network},
		func(ctx context.Context) (agents.Sandbox, error) {
			return r.disconnectEndpoint(ctx, c.ID, a.Network)
		}))
}

// disconnect disconnects a running container from a network. The container's lock must be held.
// Names and ports are updated later if their service is unavailable.
func (r *Follower) disconnect(ctx context.Context, c *container.Container, a container.Attachment) error {
	change := &container.Change{Network: a.Network}
	if err := r.storeChange(c.ID, change); err != nil {
		return err
	}

	sandbox, err := r.disconnectEndpoint(ctx, c.ID, a.Network)
	if err == nil {
		err = r.applySandbox(ctx, c, sandbox, disconnected(a.Network), change)
	}

	if err == nil {
		return nil
	}

	return errors.Join(err, r.undo(ctx, c, change,
		func(ctx context.Context) (agents.Sandbox, error) {
			return Egress{r}.connect(ctx, c, a)
		}))
}

// disconnectEndpoint disconnects an endpoint. It returns the sandbox unchanged if the network no
// longer exists.
func (r *Follower) disconnectEndpoint(ctx context.Context, uid, network string) (agents.Sandbox, error) {
	sandbox, err := r.Agents.DisconnectEndpoint(ctx, uid, network)
	if !fault.Is(err, fault.NotFound) {
		return sandbox, err
	}
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()
	unchanged, gerr := r.Agents.Sandbox(ctx, uid)
	if gerr != nil {
		return agents.Sandbox{}, err
	}
	return unchanged, nil
}

// storeChange stores a pending change; nil removes it.
func (r *Follower) storeChange(uid string, change *container.Change) error {
	_, err := r.Store.UpdateContainer(uid,
		func(c *container.Container) *container.Container { return c.Changing(change) })
	return err
}

// applySandbox updates names and ports to a changed sandbox, and stores the container.
// With later set, an unavailable service does not fail; later then remains as the pending change.
func (r *Follower) applySandbox(ctx context.Context, c *container.Container, sandbox agents.Sandbox,
	after func(*container.Container, *container.RunState) *container.Container, later *container.Change) error {
	live := *c.Live
	live.Endpoints = sandbox.Endpoints
	left, err := r.updateServices(ctx, c, after(c, &live), &live, later)
	if err != nil {
		return err
	}

	if _, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		return after(c, &live).Changing(left)
	}); err != nil {
		return err
	}

	if left != nil {
		r.RequestSync()
	}

	r.Notices.NetworkChanges(c.ID, c.Live.Endpoints, live.Endpoints)
	return nil
}

// updateServices updates names and ports, each with its own timeout. It returns later if a service
// was unavailable.
func (r *Follower) updateServices(ctx context.Context, c, after *container.Container, live *container.RunState,
	later *container.Change) (*container.Change, error) {
	named, cancelNamed := agents.WithTimeout(ctx)
	defer cancelNamed()

	err := Egress{r}.enforce(named, after, live)
	if err != nil && (later == nil || !IsTemporary(err)) {
		return nil, err
	}

	published, cancelPublished := agents.WithTimeout(ctx)
	defer cancelPublished()

	bindings, perr := r.retargetPorts(published, c, live)
	if perr == nil {
		live.Bindings = bindings
	} else if later == nil || !IsTemporary(perr) {
		return nil, perr
	}

	if err = errors.Join(err, perr); err == nil {
		return nil, nil
	}

	r.logFor(c.ID).Warn("service unavailable, names and ports updated later", "network", later.Network, "error", err)
	return later, nil
}

// undo undoes a change in all services. back undoes netagent's part.
// If that fails, left remains as the pending change and is completed when the services are
// available.
func (r *Follower) undo(ctx context.Context, c *container.Container, left *container.Change,
	back func(context.Context) (agents.Sandbox, error)) error {
	sandbox, err := back(ctx)
	if err != nil {
		return errors.Join(err, r.postpone(c.ID, left))
	}

	live := *c.Live
	live.Endpoints = sandbox.Endpoints
	named, cancelNamed := agents.WithTimeout(ctx)
	defer cancelNamed()

	err = Egress{r}.enforce(named, c, &live)
	published, cancelPublished := agents.WithTimeout(ctx)
	defer cancelPublished()

	bindings, perr := r.republishPorts(published, c, &live)
	if perr == nil {
		live.Bindings = bindings
	}

	if err = errors.Join(err, perr); err != nil {
		return errors.Join(err, r.postpone(c.ID, left))
	}

	_, err = r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		n := c.Changing(nil)
		n.Live = &live
		return n
	})

	if err != nil {
		r.overrideChange(c.ID, nil)
	}

	return err
}

// postpone stores a pending change and requests a sync.
func (r *Follower) postpone(uid string, change *container.Change) error {
	defer r.RequestSync()
	err := r.storeChange(uid, change)
	if err != nil {
		r.overrideChange(uid, change)
	}
	return err
}

// overrideChange keeps a pending change in memory, as the stored one cannot be replaced now.
// nil means that no change is pending.
func (r *Follower) overrideChange(uid string, change *container.Change) {
	r.changes.Store(uid, change)
	r.RequestSync()
}

// Completed completes an interrupted change and returns the container without it. The container's
// lock must be held.
func (r *Follower) Completed(ctx context.Context, c *container.Container) (*container.Container, error) {
	if c.Change == nil {
		return c, nil
	}
	ctx, change := context.WithoutCancel(ctx), *c.Change
	log := r.logFor(c.ID).With("name", c.Config.Name, "network", change.Network, "connect", change.Connect != nil)
	if err := r.complete(ctx, c, change); err != nil {
		return nil, fault.Wrap(err, fault.KindOf(err), c.Subject(),
			"cannot complete an interrupted change of networks or name")
	}
	log.Info("interrupted change completed")
	return r.Store.GetContainer(c.ID)
}

func (r *Follower) complete(ctx context.Context, c *container.Container, change container.Change) error {
	if better, ok := r.changes.Load(c.ID); ok {
		if err := r.storeChange(c.ID, better.(*container.Change)); err != nil {
			return err
		}
		r.changes.Delete(c.ID)
		if better.(*container.Change) == nil {
			return nil
		}
		change = *better.(*container.Change)
	}

	if change.Renamed {
		if c.IsRunning() {
			if err := r.updateName(ctx, c); err != nil {
				return err
			}
		}
		return r.storeChange(c.ID, nil)
	}

	if !c.IsRunning() {
		return r.completeStopped(ctx, c, change)
	}

	if change.Connect == nil {
		return r.completeDisconnect(ctx, c, change.Network)
	}

	err := r.connect(ctx, c, *change.Connect)
	if err == nil || IsTemporary(err) {
		return err
	}

	r.logFor(c.ID).Warn("interrupted connect undone", "network", change.Network, "error", err)
	return nil // connect has undone it, or stored a change that does
}

// completeDisconnect completes a disconnect. It is never undone, as the network may no longer
// exist.
func (r *Follower) completeDisconnect(ctx context.Context, c *container.Container, network string) error {
	sandbox, err := r.disconnectEndpoint(ctx, c.ID, network)
	if err != nil {
		return err
	}
	return r.applySandbox(ctx, c, sandbox, disconnected(network), nil)
}

func disconnected(network string) func(*container.Container, *container.RunState) *container.Container {
	return func(c *container.Container, live *container.RunState) *container.Container {
		return c.Disconnected(network, live)
	}
}

// IsTemporary reports whether a retry can succeed, as after an unavailable service or a full disk.
func IsTemporary(err error) bool {
	return fault.Is(err, fault.Unavailable) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled)
}

// storeNetworks stores the networks of a stopped container and reserves its static addresses.
func (r *Follower) storeNetworks(ctx context.Context, before, after *container.Container,
	change *container.Change) error {
	if before.Config.Network.Fixed() || after.Config.Network.Fixed() {
		ctx = context.WithoutCancel(ctx)
		if err := r.storeChange(before.ID, change); err != nil {
			return err
		}
		if err := r.Agents.ReserveAddresses(ctx, after.ID, &after.Config.Network); err != nil {
			return errors.Join(err, r.undoStoreNetworks(ctx, before))
		}
	}

	if _, err := r.Store.UpdateContainer(after.ID, withNetworks(after)); err != nil {
		return errors.Join(err, r.undoStoreNetworks(ctx, before))
	}

	if change.Connect == nil {
		r.releaseHeldLease(ctx, after, change.Network)
	}

	return nil
}

func (r *Follower) undoStoreNetworks(ctx context.Context, before *container.Container) error {
	if err := r.Agents.ReserveAddresses(ctx, before.ID, &before.Config.Network); err != nil {
		return err
	}
	return r.storeChange(before.ID, nil)
}

// completeStopped completes a change of a stopped container. A connect is undone, as its client
// received no response.
func (r *Follower) completeStopped(ctx context.Context, c *container.Container, change container.Change) error {
	after := c.Changing(nil)
	if change.Connect == nil {
		after = c.Disconnected(change.Network, nil)
	}
	if err := r.Agents.ReserveAddresses(ctx, after.ID, &after.Config.Network); err != nil {
		return err
	}
	if change.Connect == nil {
		r.releaseHeldLease(ctx, after, change.Network)
	}
	_, err := r.Store.UpdateContainer(c.ID, withNetworks(after))
	return err
}

// withNetworks returns the change to the networks of after, without a pending change. The request of a
// removal is stored without the container's lock, so nothing else is replaced.
func withNetworks(after *container.Container) func(*container.Container) *container.Container {
	return func(c *container.Container) *container.Container {
		n := *c
		n.Config.Network, n.Change = after.Config.Network, nil
		return &n
	}
}

// releaseHeldLease releases the DHCP lease that is held for a stopped container.
func (r *Follower) releaseHeldLease(ctx context.Context, c *container.Container, network string) {
	_, err := r.Agents.DisconnectEndpoint(ctx, c.ID, network)
	if err != nil && !fault.Is(err, fault.NotFound) {
		r.logFor(c.ID).Warn("DHCP release deferred", "network", network, "error", err)
	}
}
