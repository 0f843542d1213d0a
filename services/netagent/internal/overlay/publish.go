package overlay

import (
	"context"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

// reportUsage reports the use of the blocks of this host.
func (c *Controller) reportUsage(ctx context.Context) {
	req := &fleetv1.ReportUsageRequest{}
	for _, n := range c.Store.Networks() {
		for _, b := range n.Status.Blocks {
			pool := c.poolOf(n, b)
			free := c.Allocator.Count(n.ID, pool).Free
			req.Blocks = append(req.Blocks, &fleetv1.BlockUsage{NetworkId: n.ID, Prefix: b.String(),
				Used: pool.Size() - free, Free: free})
		}
	}
	if len(req.GetBlocks()) == 0 {
		return
	}
	_, err := c.Fleet.ReportUsage(ctx, req)
	c.logFailure("report of used addresses", err)
}

// publishHost publishes the routes and the MTU of this host if they have changed.
func (c *Controller) publishHost(ctx context.Context, v *view) {
	req, err := c.hostOf(v)
	if err == nil && c.publisher == v.self.GetHostId() && proto.Equal(req, c.published) {
		return
	}
	if err == nil {
		_, err = c.Fleet.PublishHost(ctx, req)
	}
	if c.logFailure("publication of the host", err); err == nil {
		c.published, c.publisher = req, v.self.GetHostId()
	}
}

// sameKeys reports whether keys are those that were published.
func sameKeys(keys []tunnelkey.Public, published *fleetv1.PublishHostRequest) bool {
	return slices.EqualFunc(keysToProto(keys), published.GetTunnelKeys(), func(a, b *fleetv1.TunnelKey) bool {
		return proto.Equal(a, b)
	})
}

// hostOf returns what other hosts must know of this one.
func (c *Controller) hostOf(v *view) (*fleetv1.PublishHostRequest, error) {
	req := &fleetv1.PublishHostRequest{TunnelKeys: keysToProto(c.Encryption.Published())}
	own := map[string]bool{}
	for _, n := range c.Store.Networks() {
		if n.IsGlobal() {
			own[n.Bridge().Device] = true
		}
	}

	routes, err := c.Kernel.Routes()
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		if !own[r.Link] && !network.IsTunnel(r.Link) && !r.To.Addr().IsLinkLocalUnicast() {
			req.Routes = append(req.Routes, r.To.String())
		}
	}
	slices.Sort(req.Routes)
	req.Routes = slices.Compact(req.Routes)

	addPaths(c.paths, req)

	req.UnderlayMtu, err = mtuOf(c.Kernel, v.self.GetAddress())
	return req, err
}

// mtuOf returns the MTU of the link with an address, and zero if there is none.
func mtuOf(k Kernel, text string) (uint32, error) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return 0, err
	}
	index, ok, err := k.LinkWith(address.Unmap())
	if err != nil || !ok {
		return 0, err
	}
	links, err := k.Links()
	for _, l := range links {
		if l.Index == index {
			return uint32(l.MTU), nil
		}
	}
	return 0, err
}
