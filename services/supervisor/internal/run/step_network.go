package run

import (
	"context"

	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// joinNetwork asks netagent for the container's network namespace and interfaces. Undone, the namespace stays as long as others
// share it.
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
			if l.abandons() {
				if err := l.r.detachSharers(ctx, l.id); err != nil {
					return err
				}
			}
			_, err := l.r.Sandboxes.Release(ctx, &networkv1.ReleaseRequest{Owner: l.id, KeepNamespace: l.r.joins.any(l.id) && !l.abandons(),
				KeepAddresses: l.keepsAddresses()})
			return err
		},
	}
}

// abandons tells whether those who share the namespace are left behind in it.
func (l *launch) abandons() bool { return l.req.Config.Network.DropSharers }

// keepsAddresses tells whether the container goes on to be there: then the addresses that it asked for by number stay its
// own, and it gets the others again if nobody has needed them meanwhile.
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

// reserveAddresses keeps the addresses for a container that asks for some by number, from its creation on.
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

// reserve keeps the addresses that a container asks for by number, and no others.
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
	req := &networkv1.CreateSandboxRequest{Owner: l.id, OwnerName: l.name, Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE}
	if l.req.Config.Network.Mode == container.ModeHost {
		req.Mode = networkv1.SandboxMode_SANDBOX_MODE_HOST
	}
	for _, a := range l.req.Config.Network.Attachments {
		req.Endpoints = append(req.Endpoints, protoconv.ToEndpointSpec(a))
	}
	return req
}
