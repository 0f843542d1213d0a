package launch

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// applyPolicyOf puts the egress policy in force. The process is created afterwards, so that it never
// runs without.
func applyPolicyOf(l *launch) saga.Step {
	return saga.Step{
		Name: applyPolicy, After: []string{joinNetwork},
		Do: func(ctx context.Context) error {
			ctx, cancel := agents.WithTimeout(ctx)
			defer cancel()
			return l.r.Agents.PutPolicy(ctx, l.id, l.name, l.req.Config.Network.Egress, l.live.Endpoints)
		},
		Undo: func(ctx context.Context) error {
			if l.r.Joins.Any(l.id) && !l.detachesSharers() {
				return nil // joined containers continue to use the network
			}
			return l.r.Agents.DeletePolicy(ctx, l.id)
		},
	}
}
