package follow

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// retryRefusals is the delay before natagent is asked again.
const retryRefusals = time.Second

// followRefusals emits an event for the first refusal of each kind, until ctx ends.
func (r Egress) followRefusals(ctx context.Context) {
	since, down := time.Now(), false
	for ctx.Err() == nil {
		err := r.Agents.FollowRefusals(ctx, since, func(one agents.Refusal) {
			since, down = one.Time, false
			r.Notices.Refused(one, r.sourceOf(one))
		})
		if ctx.Err() == nil && !down {
			down = true
			r.Log.Info("refusals are not followed, trying again", "error", err)
		}
		select {
		case <-time.After(retryRefusals):
		case <-ctx.Done():
		}
	}
}

// sourceOf returns where the rule of a refusal comes from, empty if no rule denies it.
func (r Egress) sourceOf(one agents.Refusal) string {
	c, err := r.Store.GetContainer(one.Owner)
	if err != nil || c.Live == nil {
		return ""
	}
	return policy.SourceOf(r.Policies.Sources(policy.MemberOf(c, c.Live.Endpoints)), one.Rule, one.Incoming)
}
