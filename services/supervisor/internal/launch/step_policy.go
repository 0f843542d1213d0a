package launch

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// applyPolicyOf puts the rules for traffic in force. The process is created afterwards, so that it never
// runs without.
func applyPolicyOf(l *launch) saga.Step {
	return saga.Step{
		Name: applyPolicy, After: []string{joinNetwork},
		Do: func(ctx context.Context) error {
			ctx, cancel := agents.WithTimeout(ctx)
			defer cancel()
			return l.r.Policies.Apply(ctx, memberOf(l))
		},
		Undo: func(ctx context.Context) error {
			had, err := l.r.Policies.Leave(ctx, l.id)
			kept := l.r.Joins.Any(l.id) && !l.detachesSharers() // joined containers continue to use the network
			if kept || !had && l.req.Config.Network.Egress == nil {
				return err
			}
			return errors.Join(err, l.r.Agents.DeletePolicy(ctx, l.id))
		},
	}
}

// memberOf returns the container as policies see it.
func memberOf(l *launch) policy.Member {
	m := planned(l)
	m.Name, m.Labels, m.Endpoints = l.name, l.process.Labels, l.live.Endpoints
	return m
}

// planned returns the container as policies see it before the first step.
func planned(l *launch) policy.Member {
	cfg := &l.req.Config
	return policy.Member{ID: l.id, Name: cfg.Name, Labels: cfg.Labels, Mode: cfg.Network.Mode,
		Own: policy.Rules{Egress: cfg.Network.Egress, Ingress: cfg.Network.Ingress}}
}
