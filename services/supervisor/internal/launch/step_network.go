package launch

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// joinNetwork creates the sandbox in netagent. Undo keeps the namespace while joined containers use
// it.
func (l *launch) joinNetwork(after string) saga.Step {
	return saga.Step{
		Name: joinNetwork, After: needs(after),
		Do: func(ctx context.Context) error {
			ctx, cancel := agents.WithTimeout(ctx)
			defer cancel()
			sandbox, err := l.r.Agents.CreateSandbox(ctx, l.id, l.name, &l.req.Config.Network)
			if err != nil {
				return err
			}
			l.live.NetnsPath, l.live.Endpoints = sandbox.NetnsPath, sandbox.Endpoints
			return nil
		},
		Undo: func(ctx context.Context) error {
			joined := l.r.Joins.Any(l.id)
			if l.detachesSharers() {
				if err := l.r.detachSharers(ctx, l.id); err != nil {
					return err
				}
			}
			err := l.r.Agents.ReleaseSandbox(ctx, l.id,
				agents.Kept{Namespace: joined && !l.detachesSharers(), Addresses: l.keepsAddresses()})
			if err != nil || !l.blocked {
				return err
			}
			return l.r.Agents.DeletePolicy(ctx, l.id) // see applyPolicyOf
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
	case container.Created, container.Exited, container.Restarting:
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
		Do: func(ctx context.Context) error {
			return l.r.Agents.ReserveAddresses(ctx, l.id, &l.c.Config.Network)
		},
		Undo: func(ctx context.Context) error { return l.r.Agents.ReleaseSandbox(ctx, l.id, agents.Kept{}) },
	}
}
