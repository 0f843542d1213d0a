package overlay

import (
	"context"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Check returns an error on a host without a fleet.
func (c *Controller) Check(ctx context.Context, n network.Network) error {
	_, err := c.current(ctx, n.Subject())
	return err
}

// Create creates a network on all hosts of the fleet and returns it. Pools without a subnet get one.
func (c *Controller) Create(ctx context.Context, n network.Network, pools []network.PoolSpec) (network.Network, error) {
	if err := c.Check(ctx, n); err != nil {
		return n, err
	}

	req := &fleetv1.CreateNetworkRequest{Network: networkToProto(n, nil)}
	for _, p := range pools {
		if p.IsAuto() && p.Subnet.Addr().Is6() {
			req.Ipv6 = true
			continue
		}
		req.Network.Pools = append(req.Network.Pools, networkToProto(n, []network.PoolSpec{p}).Pools...)
	}

	resp, err := c.Fleet.CreateNetwork(ctx, req)
	if err != nil {
		return n, err
	}
	for _, w := range resp.GetWarnings() {
		c.Log.Warn("network created", "network", n.Name, "warning", w)
	}
	return c.stored(resp.GetNetwork())
}

// stored stores a network that the view may not have yet.
func (c *Controller) stored(o *fleetv1.OverlayNetwork) (network.Network, error) {
	c.follows.Lock()
	defer c.follows.Unlock()
	if have, ok := c.Store.Network(o.GetId()); ok {
		return have.Network, nil
	}
	n, err := networkFromProto(o)
	if err != nil {
		return n, err
	}
	c.mu.Lock()
	c.fresh[n.ID] = c.seen.Load().networks[n.ID] == nil
	c.mu.Unlock()
	if err := c.Store.PutNetworks(store.Network{Network: n}); err != nil {
		return n, err
	}
	c.emit(n, "create")
	return n, nil
}

// Update changes MTU, name servers and labels of a network on all hosts.
func (c *Controller) Update(ctx context.Context, n network.Network, edit network.Update, follow func(context.Context,
	network.Network) error) (network.Network, error) {
	if len(edit.Subnets) > 0 || edit.IPv6 || edit.Renumber {
		return n, fault.New(fault.Invalid, n.Subject(), "spans hosts, so its subnets cannot be changed",
			fault.WithField("subnet"), fault.WithHint("create another network and connect the containers to it"))
	}
	next, err := edit.Apply(n)
	if err != nil {
		return n, err
	}

	req := &fleetv1.UpdateNetworkRequest{NetworkId: n.ID, Labels: edit.Labels}
	if edit.MTU != nil {
		mtu := uint32(*edit.MTU)
		req.Mtu = &mtu
	}
	if edit.DNS != nil {
		req.SetDns = true
		for _, a := range *edit.DNS {
			req.Dns = append(req.Dns, a.String())
		}
	}

	resp, err := c.Fleet.UpdateNetwork(ctx, req)
	if err != nil {
		return n, err
	}
	c.follows.Lock()
	err = c.store(ctx, resp.GetNetwork(), Containers{Follow: follow})
	c.follows.Unlock()
	if have, ok := c.Store.Network(n.ID); ok {
		next = have.Network
	}
	return next, err
}

// Delete deletes a network without containers on all hosts.
func (c *Controller) Delete(ctx context.Context, n network.Network) error {
	if err := c.Check(ctx, n); err != nil {
		return err
	}
	if _, err := c.Fleet.RemoveNetwork(ctx, &fleetv1.RemoveNetworkRequest{NetworkId: n.ID}); err != nil {
		return err
	}
	err := c.forget(ctx, n.ID)
	c.tend.Notify() // confirms it
	return err
}
