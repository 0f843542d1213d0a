package run

import (
	"context"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

// PublishPorts publishes further ports and addresses of a container, at once if it runs, and with each later start. What is published
// already is not touched, and if anything fails all is as before. Of what is new it tells what the user should know, a line each.
func (r *Runner) PublishPorts(ctx context.Context, ref string, ports []container.PortMapping, addresses []container.PublishedAddress) (now []container.Binding, warnings []string, err error) {
	now, before, err := r.publishMore(ctx, ref, ports, addresses)
	if more := fresh(now, before); err == nil && len(more) > 0 {
		warnings = r.review(ctx, more)
	}
	return now, warnings, err
}

func (r *Runner) publishMore(ctx context.Context, ref string, ports []container.PortMapping, addresses []container.PublishedAddress) (now, before []container.Binding, err error) {
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
			return nil, nil, fault.New(fault.Invalid, c.Subject(), "has no network on which ports can be published", fault.WithField("publish"),
				fault.WithHint("connect it to a bridge network first"))
		}
		mappings, before = append(c.Republished(), ports...), c.Live.Bindings
	}
	now, err = r.republish(ctx, c, next, mappings)
	return now, before, err
}

// UnpublishPorts withdraws some of what a container publishes, or all of it. What stays is not touched.
func (r *Runner) UnpublishPorts(ctx context.Context, ref string, selections []container.PortMapping, addresses []netip.Addr, all bool) error {
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

// republish stores what a container publishes from now on, and has natagent do so if it runs. If that fails, all is as before: what
// natagent may have done is taken back, at the latest when the container is compared with natagent again.
func (r *Runner) republish(ctx context.Context, c, next *container.Container, mappings []container.PortMapping) ([]container.Binding, error) {
	ctx = context.WithoutCancel(ctx) // a client that goes away does not leave it half done
	if c.IsRunning() {
		live := *c.Live
		asked, cancel := withCallTimeout(ctx)
		defer cancel()
		var err error
		if live.Bindings, err = r.publishMappings(asked, next, &live, mappings, false); err != nil {
			if passing(err) { // it may be in force all the same
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

// unpublish takes back what a publish or unpublish that has failed may have changed.
func (r *Runner) unpublish(ctx context.Context, c *container.Container) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	if _, err := r.publishMappings(ctx, c, c.Live, c.Republished(), false); err != nil {
		r.logFor(c.ID).Warn("published ports not restored, trying again", "error", err)
		r.hurry()
	}
}

// publishMappings has natagent publish some mappings, and the addresses that a container asks for, and nothing else.
func (r *Runner) publishMappings(ctx context.Context, c *container.Container, live *container.RunState, mappings []container.PortMapping,
	keepOpen bool) ([]container.Binding, error) {
	w := publishTargets(live)
	req := &natv1.PublishRequest{Owner: c.ID, OwnerName: c.Config.Name, Ipv4Address: w.ipv4, Ipv6Address: w.ipv6}
	if w != (publishTarget{}) { // else nothing leads to it
		req.Mappings, req.Addresses = withHostBinding(mappings, w), protoconv.ToAddresses(c.Config.Network.Addresses)
	}
	resp, err := r.Publications.UpdatePublication(ctx, &natv1.UpdatePublicationRequest{Publication: req, KeepConnections: keepOpen})
	return protoconv.Bindings(resp.GetBindings()), err
}
