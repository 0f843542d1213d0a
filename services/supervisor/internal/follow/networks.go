package follow

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// ConnectNetwork connects a container to a network, immediately if it is running. On failure
// nothing changes.
func (r *Follower) ConnectNetwork(ctx context.Context, ref string, a container.Attachment) error {
	c, unlock, err := r.FindAndLock(ctx, ref)
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

	if a.Links, err = container.ResolveLinks(a.Links, r.Store.FindContainer); err != nil {
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
func (r *Follower) DisconnectNetwork(ctx context.Context, ref, network string) error {
	pending, _ := r.Store.FindContainer(ref) // before findAndLock completes an interrupted change
	c, unlock, err := r.FindAndLock(ctx, ref)
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

// retargetPorts publishes the same host ports at the endpoints that now have the default routes. It
// does so even if these are the same while a change is pending, as the former update may have
// failed.
func (r *Follower) retargetPorts(ctx context.Context, c *container.Container,
	now *container.RunState) ([]port.Binding, error) {
	mappings := c.Republished()
	same := c.Change == nil && c.Live.PublishTarget() == now.PublishTarget()
	if len(mappings)+len(c.Config.Network.Addresses) == 0 || same {
		return c.Live.Bindings, nil
	}
	return r.publishMappings(ctx, c, now, mappings, false)
}

// FindAndLock finds a container and acquires its lock. It completes an interrupted change first.
func (r *Follower) FindAndLock(ctx context.Context, ref string) (*container.Container, func(), error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, nil, err
	}

	unlock, err := r.Lives.Lock(ctx, c.ID)
	if err != nil {
		return nil, nil, err
	}

	if c, err = r.Store.GetContainer(c.ID); err == nil {
		c, err = r.Completed(ctx, c)
	}

	if err != nil {
		unlock()
		return nil, nil, err
	}

	return c, unlock, nil
}

// connectable returns the name of a network that the container can be connected to.
func (r *Follower) connectable(ctx context.Context, c *container.Container, ref string) (string, error) {
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

	network, err := r.Agents.Network(ctx, ref)
	return network.Name, err
}

// networkName returns the full name of a network. It returns ref if the network was not found, as
// it may be removed.
func (r *Follower) networkName(ctx context.Context, ref string) string {
	network, err := r.Agents.Network(ctx, ref)
	if err != nil {
		return ref
	}
	return network.Name
}
