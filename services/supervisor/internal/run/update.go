package run

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/follow"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
)

// Changes are the changes of an update. nil fields do not change.
type Changes struct {
	Restart   *container.RestartPolicy
	Resources *resource.Limits // zero fields do not change
	Rules     policy.Rules     // nil rules do not change; without limits
	Bandwidth *bandwidth.Limit

	Connections *uint32 // limit
	Packets     *egress.Packets
}

// rules returns the changed rules, with all limits.
func (c Changes) rules(had egress.Limits) policy.Rules {
	r := c.Rules
	r.Limits = had
	if c.Connections != nil {
		r.Limits.Connections, r.Limits.AnyConnections = *c.Connections, *c.Connections == 0
	}
	if c.Packets != nil {
		r.Limits.Packets = *c.Packets
	}
	return r
}

// Update changes the configuration of a container, running or not. On failure nothing changes.
func (r *Runner) Update(ctx context.Context, ref string, changes Changes) (warnings []string, err error) {
	c, unlock, err := r.FindAndLock(ctx, ref)
	if err != nil {
		return nil, err
	}

	defer unlock()

	if c.Status == container.Removing {
		return nil, busy(c, "container is marked for removal and cannot be updated", "")
	}

	if changes.Restart != nil {
		if err := changes.Restart.Validate(c.Subject(), c.Config.AutoRemove); err != nil {
			return nil, err
		}
	}

	u := updater{r}
	limits, err := u.updateLimits(ctx, c, changes.Resources)
	if err != nil {
		return nil, err
	}
	policies := follow.Egress{Follower: r.Follower}
	change := changes.rules(c.Config.Network.Limits)
	rules, err := policies.Update(ctx, c, change)
	if err != nil {
		return nil, errors.Join(err, u.applyLimits(ctx, c, c.Config.Resources))
	}
	ruled := *c
	ruled.Config.Network.Egress, ruled.Config.Network.Ingress = rules.Egress, rules.Ingress
	ruled.Config.Network.Limits = rules.Limits
	rate, err := u.updateBandwidth(ctx, &ruled, changes.Bandwidth)
	if err != nil {
		return nil, errors.Join(err, u.applyLimits(ctx, c, c.Config.Resources), policies.Restore(ctx, c,
			change))
	}

	now, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		n := *c
		n.Config.Resources = limits
		n.Config.Network.Bandwidth = rate
		n.Config.Network.Egress, n.Config.Network.Ingress = rules.Egress, rules.Ingress
		n.Config.Network.Limits = rules.Limits
		if changes.Restart != nil {
			n.Config.Restart, n.Restarts.Count, n.Restarts.Delay = *changes.Restart, 0, 0
		}
		if n.Config.Restart.IsNone() {
			return n.NotRestarted(false)
		}
		return &n
	})
	if err != nil {
		return nil, errors.Join(err, u.applyLimits(ctx, c, c.Config.Resources), policies.Restore(ctx, c,
			change), u.applyBandwidth(ctx, c, rate, c.Config.Network.Bandwidth))
	}

	r.notices.Emit(now, "update")
	return policies.Advice(now, changes.Rules), nil
}

// updater has the parts of an update.
type updater struct{ *Runner }

// updateBandwidth applies a changed limit of bandwidth to a running container and returns the present
// one. On failure it applies the former one.
func (r updater) updateBandwidth(ctx context.Context, c *container.Container,
	change *bandwidth.Limit) (bandwidth.Limit, error) {
	had := c.Config.Network.Bandwidth
	if change == nil || *change == had {
		return had, nil
	}
	next := *c
	next.Config.Network.Bandwidth = *change
	if err := next.Config.ValidateBandwidth(); err != nil {
		return had, err
	}
	if err := r.applyBandwidth(ctx, c, had, *change); err != nil {
		return had, errors.Join(err, r.applyBandwidth(ctx, c, *change, had))
	}
	return *change, nil
}

// applyBandwidth replaces the limit of a container that is running with a network of its own.
func (r updater) applyBandwidth(ctx context.Context, c *container.Container, had, limit bandwidth.Limit) error {
	_, joined := c.Config.Network.Mode.Joined()
	if had == limit || !c.IsRunning() || c.Live == nil || joined || c.Config.Network.Mode == container.ModeHost {
		return nil
	}
	return follow.Egress{Follower: r.Follower}.UpdateBandwidth(ctx, c, limit)
}

// updateLimits applies changed limits to a running container and returns all of its limits. On
// failure it applies the former ones.
func (r updater) updateLimits(ctx context.Context, c *container.Container,
	changes *resource.Limits) (resource.Limits, error) {
	if changes == nil {
		return c.Config.Resources, nil
	}

	limits, err := c.Config.Resources.Updated(c.Subject(), *changes)
	if err != nil {
		return limits, err
	}

	if err := r.Cgroup.Check(c.Subject(), limits); err != nil {
		return limits, err
	}

	if err := r.applyLimits(ctx, c, limits); err != nil {
		return limits, errors.Join(err, r.applyLimits(ctx, c, c.Config.Resources))
	}

	return limits, nil
}

// applyLimits sets the cgroup limits of a container if it is running. Limits of devices cannot be
// updated.
func (r updater) applyLimits(ctx context.Context, c *container.Container, limits resource.Limits) error {
	if !c.IsRunning() {
		return nil
	}
	limits.BlkioWeightDevices, limits.DeviceReadBps, limits.DeviceWriteBps = nil, nil, nil
	limits.DeviceReadIOps, limits.DeviceWriteIOps = nil, nil
	return r.Processes.Update(context.WithoutCancel(ctx), c.ID, spec.Limits(limits, r.Defaults.PidsLimit, nil))
}
