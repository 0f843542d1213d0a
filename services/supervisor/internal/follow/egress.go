package follow

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Egress changes egress policies.
type Egress struct{ *Follower }

// Update changes the egress policy of a container, in force immediately if it is running. It returns
// the rules to store. nil rules change nothing. On failure the former policy is in force.
func (r Egress) Update(ctx context.Context, c *container.Container, rules []string) ([]string, error) {
	had := c.Config.Network.Egress
	if rules == nil {
		return had, nil
	}

	next := *c
	next.Config.Network.Egress = rules
	if err := next.Config.ValidateEgress(); err != nil {
		return had, err
	}
	p, err := egress.Parse(rules)
	if err != nil {
		return had, err
	}

	next.Config.Network.Egress = p.Strings()
	if !c.IsRunning() || c.Live == nil {
		return next.Config.Network.Egress, nil
	}
	if err := r.apply(ctx, &next); err != nil {
		return had, errors.Join(err, r.Restore(ctx, c, rules))
	}
	return next.Config.Network.Egress, nil
}

// Restore puts the stored policy of a container in force again, after an Update to rules.
func (r Egress) Restore(ctx context.Context, c *container.Container, rules []string) error {
	switch {
	case rules == nil || !c.IsRunning() || c.Live == nil:
		return nil
	case len(c.Config.Network.Egress) == 0:
		return r.Agents.DeletePolicy(ctx, c.ID)
	}
	return r.apply(ctx, c)
}

// apply puts a policy in force: first for packets, then for names.
func (r Egress) apply(ctx context.Context, c *container.Container) error {
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()
	err := r.Agents.PutPolicy(ctx, c.ID, c.Config.Name, c.Config.Network.Egress, c.Live.Endpoints)
	if err != nil {
		return err
	}
	return r.updateNames(ctx, c, c.Live)
}

// connectableWithEgress rejects a new network of a running container with a policy: its interface would
// be up before the policy is in force on it.
func connectableWithEgress(c *container.Container) error {
	if len(c.Config.Network.Egress) == 0 || !c.IsRunning() {
		return nil
	}
	return fault.New(fault.Busy, c.Subject(),
		"cannot be connected to a network while it is running: it has an egress policy",
		fault.WithHint("stop the container, connect it, and start it"))
}
