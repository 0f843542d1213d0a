package follow

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// updateNames updates the registration of a running container in dnsagent.
func (r *Follower) updateNames(ctx context.Context, c *container.Container, live *container.RunState) error {
	return r.Agents.UpdateNames(ctx, agents.Registration{Owner: c.ID, Name: c.Config.Name, Config: &c.Config,
		Endpoints: live.Endpoints, HostGateways: live.HostGateways,
		Egress: r.Policies.Names(policy.MemberOf(c, live.Endpoints))})
}

// UpdateAllNames updates the registration of each running container from the store.
func (r *Follower) UpdateAllNames(ctx context.Context) error {
	var last error
	for _, c := range r.Store.ListContainers() {
		if !c.IsRunning() || c.Live.SharedWith != "" {
			continue
		}
		now, unlock, err := r.FindAndLock(ctx, c.ID)
		if err != nil {
			last = err
			continue
		}
		if now.IsRunning() {
			if err := r.updateNames(ctx, now, now.Live); err != nil {
				last = err
			}
		}
		unlock()
	}

	return last
}
