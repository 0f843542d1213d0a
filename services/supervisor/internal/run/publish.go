package run

import (
	"context"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

// PublishPorts publishes additional ports and addresses of a container.
// They take effect immediately if it is running, and with each later start. Existing bindings are
// unchanged, and on failure nothing changes. It returns the bindings and warnings about the new
// ones.
func (r *Runner) PublishPorts(ctx context.Context, ref string, ports []container.PortMapping,
	addresses []container.PublishedAddress) (now []container.Binding, warnings []string, err error) {
	now, before, err := r.publishMore(ctx, ref, ports, addresses)
	if more := added(now, before); err == nil && len(more) > 0 {
		warnings = r.checkHostFirewall(ctx, more)
	}
	return now, warnings, err
}

func (r *Runner) publishMore(ctx context.Context, ref string, ports []container.PortMapping,
	addresses []container.PublishedAddress) (now, before []container.Binding, err error) {
	c, unlock, err := r.findAndLock(ctx, ref)
	if err != nil {
		return nil, nil, err
	}

	defer unlock()

	next, err := c.Published(ports, addresses)
	if err != nil {
		return nil, nil, err
	}

	var mappings []container.PortMapping
	if c.IsRunning() {
		if publishTargets(c.Live) == (publishTarget{}) {
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
func (r *Runner) UnpublishPorts(ctx context.Context, ref string, selections []container.PortMapping,
	addresses []netip.Addr, all bool) error {
	c, unlock, err := r.findAndLock(ctx, ref)
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
func (r *Runner) republish(ctx context.Context, c, next *container.Container,
	mappings []container.PortMapping) ([]container.Binding, error) {
	ctx = context.WithoutCancel(ctx) // a client that goes away does not leave it half done
	if c.IsRunning() {
		live := *c.Live
		callCtx, cancel := withCallTimeout(ctx)
		defer cancel()
		var err error
		if live.Bindings, err = r.publishMappings(callCtx, next, &live, mappings, false); err != nil {
			if isTemporary(err) { // natagent may have applied it anyway
				r.unpublish(ctx, c)
			}
			return nil, err
		}
		next.Live = &live
	}

	_, err := r.Store.UpdateContainer(c.ID, func(*container.Container) *container.Container { return next })
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

// unpublish restores the stored bindings after a failed publish or unpublish.
func (r *Runner) unpublish(ctx context.Context, c *container.Container) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	if _, err := r.publishMappings(ctx, c, c.Live, c.Republished(), false); err != nil {
		r.logFor(c.ID).Warn("published ports not restored, retrying", "error", err)
		r.requestSync()
	}
}

// publishMappings replaces the publication of a container.
// The new one has the mappings and the published addresses of the configuration.
func (r *Runner) publishMappings(ctx context.Context, c *container.Container, live *container.RunState,
	mappings []container.PortMapping,
	keepOpen bool) ([]container.Binding, error) {
	w := publishTargets(live)
	req := &natv1.PublishRequest{Owner: c.ID, OwnerName: c.Config.Name, Ipv4Address: w.ipv4, Ipv6Address: w.ipv6}
	if w != (publishTarget{}) { // otherwise there is no address to forward to
		req.Mappings, req.Addresses = withHostBinding(mappings, w), protoconv.ToAddresses(c.Config.Network.Addresses)
	}
	resp, err := r.Publications.UpdatePublication(ctx,
		&natv1.UpdatePublicationRequest{Publication: req, KeepConnections: keepOpen})
	return protoconv.Bindings(resp.GetBindings()), err
}
