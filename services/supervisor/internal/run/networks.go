package run

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

// ConnectNetwork connects a container to a network, immediately if it is running. On failure
// nothing changes.
func (r *Runner) ConnectNetwork(ctx context.Context, ref string, a container.Attachment) error {
	c, unlock, err := r.findAndLock(ctx, ref)
	if err != nil {
		return err
	}

	defer unlock()

	if a.Network, err = r.connectable(ctx, c, a.Network); err != nil {
		return err
	}

	if err := a.Validate(c.Subject()); err != nil {
		return err
	}

	if a.Links, err = r.resolveLinks(a.Links); err != nil {
		return err
	}

	if slices.ContainsFunc(c.Config.Network.Attachments,
		func(have container.Attachment) bool { return have.Network == a.Network }) {
		return fault.New(fault.Exists, c.Subject(),
			"endpoint with name "+c.Config.Name+" already exists in network "+a.Network)
	}

	if !c.IsRunning() {
		return r.storeNetworks(ctx, c, c.Connected(a, c.Live), &container.Change{Network: a.Network, Connect: &a})
	}

	return r.connect(context.WithoutCancel(ctx), c, a) // completed even if the client disconnects
}

// DisconnectNetwork disconnects a container from a network, immediately if it is running.
func (r *Runner) DisconnectNetwork(ctx context.Context, ref, network string) error {
	pending, _ := r.Store.FindContainer(ref) // before findAndLock completes an interrupted change
	c, unlock, err := r.findAndLock(ctx, ref)
	if err != nil {
		return err
	}

	defer unlock()

	if c.Config.Network.Mode == container.ModeHost && network == string(container.ModeHost) {
		return fault.New(fault.Busy, c.Subject(),
			"cannot disconnect container from host network - container was created in host network mode")
	}

	network = r.networkName(ctx, network)
	i := slices.IndexFunc(c.Config.Network.Attachments,
		func(have container.Attachment) bool { return have.Network == network })
	if i < 0 && pending != nil && pending.Change.Disconnects(network) {
		return nil
	}

	if i < 0 {
		return fault.New(fault.NotFound, c.Subject(), "container "+c.ID+" is not connected to network "+network)
	}

	if !c.IsRunning() {
		return r.storeNetworks(ctx, c, c.Disconnected(network, c.Live), &container.Change{Network: network})
	}

	return r.disconnect(context.WithoutCancel(ctx), c, c.Config.Network.Attachments[i])
}

// retargetPorts publishes the same host ports at the endpoints that now have the default routes.
func (r *Runner) retargetPorts(ctx context.Context, c *container.Container,
	now *container.RunState) ([]container.Binding, error) {
	mappings := c.Republished()
	if len(mappings)+len(c.Config.Network.Addresses) == 0 || publishTargets(c.Live) == publishTargets(now) {
		return c.Live.Bindings, nil
	}
	return r.publishMappings(ctx, c, now, mappings, false)
}

// withHostBinding converts mappings. Those without a host address get the host binding of the
// network.
func withHostBinding(mappings []container.PortMapping, w publishTarget) []*natv1.PortMapping {
	out := protoconv.ToMappings(mappings)
	for _, m := range out {
		if m.HostIp == "" {
			m.HostIp = w.binding
		}
	}
	return out
}

// publishTarget holds the addresses that ports are forwarded to, empty for a family without one.
type publishTarget struct{ ipv4, ipv6, binding string }

func publishTargets(l *container.RunState) publishTarget {
	var w publishTarget
	ipv4, ipv6 := l.PublishEndpoints()
	if ipv6 != nil {
		w.ipv6, w.binding = protoconv.Address(ipv6.IPv6), ipv6.HostBinding
	}
	if ipv4 != nil {
		w.ipv4, w.binding = protoconv.Address(ipv4.IPv4), ipv4.HostBinding
	}
	return w
}

// findAndLock finds a container and acquires its lock. It completes an interrupted change first.
func (r *Runner) findAndLock(ctx context.Context, ref string) (*container.Container, func(), error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, nil, err
	}

	unlock, err := r.lives.lock(ctx, c.ID)
	if err != nil {
		return nil, nil, err
	}

	if c, err = r.Store.GetContainer(c.ID); err == nil {
		c, err = r.completed(ctx, c)
	}

	if err != nil {
		unlock()
		return nil, nil, err
	}

	return c, unlock, nil
}

// connectable returns the name of a network that the container can be connected to.
func (r *Runner) connectable(ctx context.Context, c *container.Container, ref string) (string, error) {
	refuse := func(text string) (string, error) {
		return "", fault.New(fault.Busy, c.Subject(), text, fault.WithField("network"))
	}

	_, joined := c.Config.Network.Mode.Joined()
	switch {
	case joined || c.Config.Network.Mode == container.ModeHost:
		return refuse("container sharing network namespace with another container or host " +
			"cannot be connected to any other network")
	case c.Config.Network.Mode == container.ModeNone || ref == string(container.ModeNone):
		return refuse("container cannot be connected to multiple networks " +
			"with one of the networks in private (none) mode")
	case ref == string(container.ModeHost):
		return refuse("cannot connect container to host network - container must be created in host network mode")
	}

	resp, err := r.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: ref})
	return resp.GetNetwork().GetName(), err
}

// networkName returns the full name of a network. It returns ref if the network was not found, as
// it may be removed.
func (r *Runner) networkName(ctx context.Context, ref string) string {
	resp, err := r.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: ref})
	if err != nil {
		return ref
	}
	return resp.GetNetwork().GetName()
}

// resolveReferences resolves networks to full names, and a joined container to its ID.
func (l *launch) resolveReferences(ctx context.Context) error {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()

	n := l.req.Config.Network
	if ref, ok := n.Mode.Joined(); ok {
		c, err := l.r.Store.FindContainer(ref)
		if fault.Is(err, fault.NotFound) {
			return joinTargetFault(ref)
		}
		if err != nil {
			return err
		}
		n.Mode = container.ModeJoin(c.ID)
	}

	var err error
	if n.Links, err = l.r.resolveLinks(n.Links); err != nil {
		return err
	}

	var unpublishable *networkv1.Network
	l.internal = len(n.Attachments) > 0
	for i, a := range n.Attachments {
		if a.Network == string(container.ModeBridge) {
			unpublishable, l.internal = nil, false
			continue // predefined; a missing one fails the launch
		}
		resp, err := l.r.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: a.Network})
		if err != nil {
			return err
		}
		l.internal = l.internal && resp.GetNetwork().GetInternal()
		if i == 0 || unpublishable != nil {
			unpublishable = publishableOn(resp.GetNetwork())
		}
		if n.Attachments[i].Links, err = l.r.resolveLinks(a.Links); err != nil {
			return err
		}
		if n.Attachments[i].Network = resp.GetNetwork().GetName(); i == 0 {
			n.Mode = container.Mode(n.Attachments[0].Network)
		}
	}

	l.req.Config.Network = n
	if unpublishable != nil && l.publishes() {
		return fault.New(fault.Invalid, "network "+unpublishable.GetName(), "ports cannot be published: containers on "+
			unpublishable.GetDriver()+" networks have their own address on the LAN", fault.WithField("publish"),
			fault.WithHint("omit -p and connect to the container's own address, or add a bridge network"))
	}

	return l.req.Config.Validate() // resolved names can be equal
}

// publishableOn returns nil if ports can be published on the network, otherwise the network.
func publishableOn(n *networkv1.Network) *networkv1.Network {
	if n.GetBridge() != "" {
		return nil
	}
	return n
}
