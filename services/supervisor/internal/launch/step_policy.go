package launch

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// applyPolicyOf puts the rules for traffic in force, while the process is created: natagent reads all
// connections of the host, as an earlier owner of the addresses can have left some. The process starts
// afterwards and ends before the rules are removed, so that it never runs without.
func applyPolicyOf(l *launch) saga.Step {
	return saga.Step{
		Name: applyPolicy, After: []string{joinNetwork}, UndoAfter: []string{createProcess},
		Do: func(ctx context.Context) error {
			ctx, cancel := agents.WithTimeout(ctx)
			defer cancel()
			if l.r.Joins.Any(l.id) { // joined containers run
				return l.r.Policies.Apply(ctx, memberOf(l))
			}
			return l.r.Policies.ApplyBeforeStart(ctx, memberOf(l))
		},
		Undo: func(ctx context.Context) error {
			had, err := l.r.Policies.Leave(ctx, l.id)
			switch {
			case !had && l.req.Config.Network.Egress == nil:
				return err
			case l.mayRun, l.r.Joins.Any(l.id): // processes, or those of joined containers, still run
				l.blocked = true
				return errors.Join(err, blockEndpoints(ctx, l))
			}
			return errors.Join(err, l.r.Agents.DeletePolicy(ctx, l.id))
		},
	}
}

// blockEndpoints makes nothing pass from and to the endpoints until joinNetwork has released them, and
// then deletes the rules. Without known endpoints natagent keeps the rules.
func blockEndpoints(ctx context.Context, l *launch) error {
	m := planned(l)
	m.Name, m.Endpoints = l.name, l.live.Endpoints
	if l.c != nil && l.c.Live != nil && len(m.Endpoints) == 0 {
		m.Endpoints = l.c.Live.Endpoints
	}
	if len(m.Endpoints) == 0 {
		return nil
	}
	return l.r.Policies.Block(ctx, m)
}

// memberOf returns the container as policies see it.
func memberOf(l *launch) policy.Member {
	m := planned(l)
	m.Name, m.Endpoints = l.name, l.live.Endpoints
	return m
}

// planned returns the container as policies see it before the first step.
func planned(l *launch) policy.Member {
	cfg, n := &l.req.Config, &l.req.Config.Network
	return policy.Member{ID: l.id, Name: cfg.Name, Labels: cfg.Labels, Mode: n.Mode, Bandwidth: n.Bandwidth,
		Own: policy.RulesOf(n), Privileges: policy.Privileges(&cfg.Security)}
}
