package run

import (
	"context"

	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// joinNetwork creates the sandbox in netagent. Undo keeps the namespace while joined containers use
// it.
func (l *launch) joinNetwork(after string) saga.Step {
	return saga.Step{
		Name: joinNetwork, After: needs(after),
		Do: func(ctx context.Context) error {
			ctx, cancel := withCallTimeout(ctx)
			defer cancel()
			resp, err := l.r.Sandboxes.CreateSandbox(ctx, l.sandboxRequest())
			if err != nil {
				return err
			}
			l.live.NetnsPath = resp.GetSandbox().GetNetnsPath()
			l.live.Endpoints = protoconv.Endpoints(resp.GetSandbox().GetEndpoints())
			return nil
		},
		Undo: func(ctx context.Context) error {
			if l.detachesSharers() {
				if err := l.r.detachSharers(ctx, l.id); err != nil {
					return err
				}
			}
			_, err := l.r.Sandboxes.Release(ctx,
				&networkv1.ReleaseRequest{Owner: l.id, KeepNamespace: l.r.joins.any(l.id) && !l.detachesSharers(),
					KeepAddresses: l.keepsAddresses()})
			return err
		},
	}
}

// detachesSharers reports whether joined containers keep the namespace when the container exits.
func (l *launch) detachesSharers() bool { return l.req.Config.Network.DropSharers }

// keepsAddresses reports whether the container continues to exist.
// Its static addresses then remain reserved, and its dynamic addresses have affinity.
func (l *launch) keepsAddresses() bool {
	c, err := l.r.Store.GetContainer(l.id)
	if err != nil {
		return false
	}
	switch c.Status {
	case container.Created, container.Exited:
		return true
	case container.Running:
		return !c.IsToBeRemoved()
	}
	return false
}

// reserveAddresses reserves the static addresses of a created container.
func (l *launch) reserveAddresses() saga.Step {
	return saga.Step{
		Name: reserveAddresses, After: []string{storeContainer},
		Do: func(ctx context.Context) error { return l.r.reserve(ctx, l.c) },
		Undo: func(ctx context.Context) error {
			_, err := l.r.Sandboxes.Release(ctx, &networkv1.ReleaseRequest{Owner: l.id})
			return err
		},
	}
}

// reserve replaces the address reservations of a container by its static addresses.
func (r *Runner) reserve(ctx context.Context, c *container.Container) error {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	req := &networkv1.ReserveAddressesRequest{Owner: c.ID}
	for _, a := range c.Config.Network.Attachments {
		if a.Fixed() {
			req.Endpoints = append(req.Endpoints, protoconv.ToEndpointSpec(a))
		}
	}
	_, err := r.Sandboxes.ReserveAddresses(ctx, req)
	return err
}

func (l *launch) sandboxRequest() *networkv1.CreateSandboxRequest {
	req := &networkv1.CreateSandboxRequest{Owner: l.id, OwnerName: l.name,
		Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE}
	if l.req.Config.Network.Mode == container.ModeHost {
		req.Mode = networkv1.SandboxMode_SANDBOX_MODE_HOST
	}
	for _, a := range l.req.Config.Network.Attachments {
		req.Endpoints = append(req.Endpoints, protoconv.ToEndpointSpec(a))
	}
	return req
}
