package follow

import (
	"context"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
)

// PublishPorts publishes additional ports and addresses of a container.
// They take effect immediately if it is running, and with each later start. Existing bindings are
// unchanged, and on failure nothing changes. It returns the bindings and warnings about the new
// ones.
func (r *Follower) PublishPorts(ctx context.Context, ref string, ports []port.Mapping,
	addresses []port.Address) (now []port.Binding, warnings []string, err error) {
	now, before, err := r.publishMore(ctx, ref, ports, addresses)
	if more := notices.Added(now, before); err == nil && len(more) > 0 {
		warnings = r.Notices.CheckHostFirewall(ctx, more)
	}
	return now, warnings, err
}

func (r *Follower) publishMore(ctx context.Context, ref string, ports []port.Mapping,
	addresses []port.Address) (now, before []port.Binding, err error) {
	c, unlock, err := r.FindAndLock(ctx, ref)
	if err != nil {
		return nil, nil, err
	}

	defer unlock()

	next, err := c.Published(ports, addresses)
	if err != nil {
		return nil, nil, err
	}

	var mappings []port.Mapping
	if c.IsRunning() {
		if c.Live.PublishTarget() == (container.PublishTarget{}) {
			return nil, nil, fault.New(fault.Invalid, c.Subject(), "has no network that supports published ports",
				fault.WithField("publish"),
				fault.WithHint("connect it to a bridge network first"))
		}
		mappings, before = append(c.Republished(), ports...), c.Live.Bindings
	}

	now, err = r.republish(ctx, c, next, mappings)
	return now, before, err
}

// UnpublishPorts unpublishes the selected ports and addresses, or all of them. Other bindings are
// unchanged.
func (r *Follower) UnpublishPorts(ctx context.Context, ref string, selections []port.Mapping,
	addresses []netip.Addr, all bool) error {
	c, unlock, err := r.FindAndLock(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	next, left, err := c.Unpublished(selections, addresses, all)
	if err != nil {
		return err
	}
	_, err = r.republish(ctx, c, next, left)
	return err
}

// republish publishes mappings in natagent if the container is running, and stores the container.
// On failure nothing changes. A change that natagent may have made is undone, at the latest by the
// network sync.
func (r *Follower) republish(ctx context.Context, c, next *container.Container,
	mappings []port.Mapping) ([]port.Binding, error) {
	ctx = context.WithoutCancel(ctx) // a client that goes away does not leave it half done
	if c.IsRunning() {
		live := *c.Live
		callCtx, cancel := agents.WithTimeout(ctx)
		defer cancel()
		var err error
		if live.Bindings, err = r.publishMappings(callCtx, next, &live, mappings, false); err != nil {
			if IsTemporary(err) { // natagent may have applied it anyway
				r.unpublish(ctx, c)
			}
			return nil, err
		}
		next.Live = &live
	}

	_, err := r.Store.UpdateContainer(c.ID, withPublished(next))
	if err != nil {
		if c.IsRunning() {
			r.unpublish(ctx, c)
		}
		return nil, err
	}

	if next.Live == nil {
		return nil, nil
	}

	return next.Live.Bindings, nil
}

// withPublished returns the change to the ports and addresses of next. Requests to stop and results of
// health checks are stored without the container's lock, so nothing else is replaced.
func withPublished(next *container.Container) func(*container.Container) *container.Container {
	return func(c *container.Container) *container.Container {
		n := *c
		n.Config.Network, n.Process.Exposed = next.Config.Network, next.Process.Exposed
		if c.Live != nil && next.Live != nil {
			live := *c.Live
			live.Bindings = next.Live.Bindings
			n.Live = &live
		}
		return &n
	}
}

// unpublish restores the stored bindings after a failed publish or unpublish.
func (r *Follower) unpublish(ctx context.Context, c *container.Container) {
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()
	if _, err := r.publishMappings(ctx, c, c.Live, c.Republished(), false); err != nil {
		r.logFor(c.ID).Warn("published ports not restored, retrying", "error", err)
		r.RequestSync()
	}
}

// publishMappings replaces the publication of a container.
// The new one has the mappings and the published addresses of the configuration.
func (r *Follower) publishMappings(ctx context.Context, c *container.Container, live *container.RunState,
	mappings []port.Mapping,
	keepOpen bool) ([]port.Binding, error) {
	return r.Agents.UpdatePublication(ctx, agents.Publication{Owner: c.ID, OwnerName: c.Config.Name,
		Target: live.PublishTarget(), Mappings: mappings, Addresses: c.Config.Network.Addresses}, keepOpen)
}
