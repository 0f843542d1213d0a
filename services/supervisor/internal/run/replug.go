package run

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

// A change of a container's networks concerns four stores. The intent is stored first; then netagent, dnsagent and natagent follow, and
// the last commit stores the configuration and removes the intent. If a step fails, all are undone, each with a time limit of its own. What
// a crash or a failed undo leaves is an intent, which complete brings to its end.

// connect puts a running container on a network. The caller holds the lock.
func (r *Runner) connect(ctx context.Context, c *container.Container, a container.Attachment) error {
	if err := r.intend(c.ID, &container.Change{Network: a.Network, Connect: &a}); err != nil {
		return err
	}
	sandbox, err := r.plugIn(ctx, c.ID, a)
	if err == nil {
		err = r.adjust(ctx, c, sandbox, func(c *container.Container, live *container.RunState) *container.Container {
			return c.Connected(a, live)
		}, nil)
	}
	if err == nil {
		return nil
	}
	return errors.Join(err, r.undo(ctx, c, &container.Change{Network: a.Network}, func(ctx context.Context) (*networkv1.Sandbox, error) {
		return r.plugOut(ctx, c.ID, a.Network)
	}))
}

// disconnect takes a running container off a network. Names and ports whose service is away follow later. The caller holds the lock.
func (r *Runner) disconnect(ctx context.Context, c *container.Container, a container.Attachment) error {
	change := &container.Change{Network: a.Network}
	if err := r.intend(c.ID, change); err != nil {
		return err
	}
	sandbox, err := r.plugOut(ctx, c.ID, a.Network)
	if err == nil {
		err = r.adjust(ctx, c, sandbox, disconnected(a.Network), change)
	}
	if err == nil {
		return nil
	}
	return errors.Join(err, r.undo(ctx, c, change, func(ctx context.Context) (*networkv1.Sandbox, error) { return r.plugIn(ctx, c.ID, a) }))
}

func (r *Runner) plugIn(ctx context.Context, uid string, a container.Attachment) (*networkv1.Sandbox, error) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	resp, err := r.Sandboxes.ConnectEndpoint(ctx, &networkv1.ConnectEndpointRequest{Owner: uid, Endpoint: protoconv.ToEndpointSpec(a)})
	return resp.GetSandbox(), err
}

// plugOut disconnects an endpoint; there is none on a network that is gone.
func (r *Runner) plugOut(ctx context.Context, uid, network string) (*networkv1.Sandbox, error) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	resp, err := r.Sandboxes.DisconnectEndpoint(ctx, &networkv1.DisconnectEndpointRequest{Owner: uid, Network: network})
	if fault.Is(err, fault.NotFound) {
		got, gerr := r.Sandboxes.GetSandbox(ctx, &networkv1.GetSandboxRequest{Owner: uid})
		if gerr != nil {
			return nil, err
		}
		return got.GetSandbox(), nil
	}
	return resp.GetSandbox(), err
}

// intend stores the intent of a change, or with nil that there is none.
func (r *Runner) intend(uid string, change *container.Change) error {
	_, err := r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container { return c.Changing(change) })
	return err
}

// adjust makes names and ports follow a sandbox that has changed, and stores the container as it is then. With later they may also follow
// later, if their service is away: then that is the intent that stays.
func (r *Runner) adjust(ctx context.Context, c *container.Container, sandbox *networkv1.Sandbox,
	after func(*container.Container, *container.RunState) *container.Container, later *container.Change) error {
	live := *c.Live
	live.Endpoints = protoconv.Endpoints(sandbox.GetEndpoints())
	left, err := r.followed(ctx, c, after(c, &live), &live, later)
	if err != nil {
		return err
	}
	if _, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		return after(c, &live).Changing(left)
	}); err != nil {
		return err
	}
	if left != nil {
		r.hurry()
	}
	r.tellChanged(c.ID, c.Live.Endpoints, live.Endpoints)
	return nil
}

// followed makes names and ports follow, each in a time of its own. It returns later if they will do so later.
func (r *Runner) followed(ctx context.Context, c, after *container.Container, live *container.RunState, later *container.Change) (*container.Change, error) {
	named, cancelNamed := withCallTimeout(ctx)
	defer cancelNamed()
	err := r.updateNames(named, after, live)
	if err != nil && (later == nil || !passing(err)) {
		return nil, err
	}
	led, cancelLed := withCallTimeout(ctx)
	defer cancelLed()
	bindings, lerr := r.retargetPorts(led, c, live)
	if lerr == nil {
		live.Bindings = bindings
	} else if later == nil || !passing(lerr) {
		return nil, lerr
	}
	if err = errors.Join(err, lerr); err == nil {
		return nil, nil
	}
	r.logFor(c.ID).Warn("names and ports follow later, their service is away", "network", later.Network, "error", err)
	return later, nil
}

// undo takes a change back everywhere: back is netagent's part. If that fails too, the intent to take it back, or for a disconnect the
// disconnect itself, stays, and is completed as soon as the services are there.
func (r *Runner) undo(ctx context.Context, c *container.Container, left *container.Change,
	back func(context.Context) (*networkv1.Sandbox, error)) error {
	sandbox, err := back(ctx)
	if err != nil {
		return errors.Join(err, r.postpone(c.ID, left))
	}
	live := *c.Live
	live.Endpoints = protoconv.Endpoints(sandbox.GetEndpoints())
	named, cancelNamed := withCallTimeout(ctx)
	defer cancelNamed()
	err = r.updateNames(named, c, &live)
	led, cancelLed := withCallTimeout(ctx)
	defer cancelLed()
	bindings, lerr := r.republishPorts(led, c, &live)
	if lerr == nil {
		live.Bindings = bindings
	}
	if err = errors.Join(err, lerr); err != nil {
		return errors.Join(err, r.postpone(c.ID, left))
	}
	_, err = r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		n := c.Changing(nil)
		n.Live = &live
		return n
	})
	if err != nil {
		r.instead(c.ID, nil)
	}
	return err
}

// postpone stores an intent for later.
func (r *Runner) postpone(uid string, change *container.Change) error {
	defer r.hurry()
	err := r.intend(uid, change)
	if err != nil {
		r.instead(uid, change)
	}
	return err
}

// instead notes the intent that counts in place of the stored one, which cannot be replaced at the moment; nil: there is none.
func (r *Runner) instead(uid string, change *container.Change) {
	r.intents.Store(uid, change)
	r.hurry()
}

// completed returns a container without an intent: it brings a change to its end that was interrupted. The caller holds the lock.
func (r *Runner) completed(ctx context.Context, c *container.Container) (*container.Container, error) {
	if c.Change == nil {
		return c, nil
	}
	ctx, change := context.WithoutCancel(ctx), *c.Change
	log := r.logFor(c.ID).With("name", c.Config.Name, "network", change.Network, "connect", change.Connect != nil)
	if err := r.complete(ctx, c, change); err != nil {
		return nil, fault.Wrap(err, fault.KindOf(err), c.Subject(), "cannot complete a change of its networks or name that was interrupted")
	}
	log.Info("interrupted change completed")
	return r.Store.GetContainer(c.ID)
}

func (r *Runner) complete(ctx context.Context, c *container.Container, change container.Change) error {
	if better, ok := r.intents.Load(c.ID); ok {
		if err := r.intend(c.ID, better.(*container.Change)); err != nil {
			return err
		}
		r.intents.Delete(c.ID)
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
		return r.intend(c.ID, nil)
	}
	if !c.IsRunning() {
		return r.completePlan(ctx, c, change)
	}
	if change.Connect == nil {
		return r.completeDisconnect(ctx, c, change.Network)
	}
	err := r.connect(ctx, c, *change.Connect)
	if err == nil || passing(err) {
		return err
	}
	r.logFor(c.ID).Warn("interrupted connect undone", "network", change.Network, "error", err)
	return nil // connect has undone it, or left the intent to do so
}

// completeDisconnect goes forward only: the network may be gone by now.
func (r *Runner) completeDisconnect(ctx context.Context, c *container.Container, network string) error {
	sandbox, err := r.plugOut(ctx, c.ID, network)
	if err != nil {
		return err
	}
	return r.adjust(ctx, c, sandbox, disconnected(network), nil)
}

func disconnected(network string) func(*container.Container, *container.RunState) *container.Container {
	return func(c *container.Container, live *container.RunState) *container.Container {
		return c.Disconnected(network, live)
	}
}

// passing reports whether an error may be gone at the next attempt, as when a service is away or a disk is full.
func passing(err error) bool {
	return fault.Is(err, fault.Unavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// storeNetworks stores on which networks a container is to be with its next start, with the addresses that it asks for reserved.
func (r *Runner) storeNetworks(ctx context.Context, before, after *container.Container, change *container.Change) error {
	if before.Config.Network.Fixed() || after.Config.Network.Fixed() {
		ctx = context.WithoutCancel(ctx)
		if err := r.intend(before.ID, change); err != nil {
			return err
		}
		if err := r.reserve(ctx, after); err != nil {
			return errors.Join(err, r.unplan(ctx, before))
		}
	}
	if _, err := r.Store.UpdateContainer(after.ID, func(*container.Container) *container.Container { return after }); err != nil {
		return errors.Join(err, r.unplan(ctx, before))
	}
	if change.Connect == nil {
		r.releaseHeldLease(ctx, after, change.Network)
	}
	return nil
}

func (r *Runner) unplan(ctx context.Context, before *container.Container) error {
	if err := r.reserve(ctx, before); err != nil {
		return err
	}
	return r.intend(before.ID, nil)
}

// completePlan completes the change of a container that does not run: a connect is undone, as its client was never told of it.
func (r *Runner) completePlan(ctx context.Context, c *container.Container, change container.Change) error {
	after := c.Changing(nil)
	if change.Connect == nil {
		after = c.Disconnected(change.Network, nil)
	}
	if err := r.reserve(ctx, after); err != nil {
		return err
	}
	if change.Connect == nil {
		r.releaseHeldLease(ctx, after, change.Network)
	}
	_, err := r.Store.UpdateContainer(c.ID, func(*container.Container) *container.Container { return after })
	return err
}

// releaseHeldLease gives back what the LAN of a network holds for a container until it is started again.
func (r *Runner) releaseHeldLease(ctx context.Context, c *container.Container, network string) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	_, err := r.Sandboxes.DisconnectEndpoint(ctx, &networkv1.DisconnectEndpointRequest{Owner: c.ID, Network: network})
	if err != nil && !fault.Is(err, fault.NotFound) {
		r.logFor(c.ID).Warn("what its network's LAN has granted goes back later", "network", network, "error", err)
	}
}
