package follow

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// Egress changes the rules for traffic of containers.
type Egress struct{ *Follower }

// Update changes the rules of a container, in force immediately if it is running. It returns the rules to
// store. nil rules change nothing. On failure the former rules are in force.
func (r Egress) Update(ctx context.Context, c *container.Container, rules policy.Rules) (policy.Rules, error) {
	had := policy.Rules{Egress: c.Config.Network.Egress, Ingress: c.Config.Network.Ingress}
	if rules.IsEmpty() {
		return had, nil
	}

	next := *c
	n := &next.Config.Network
	if rules.Egress != nil {
		n.Egress = rules.Egress
	}
	if rules.Ingress != nil {
		n.Ingress = rules.Ingress
	}
	if err := next.Config.ValidatePolicies(); err != nil {
		return had, err
	}

	now := policy.Rules{Egress: n.Egress, Ingress: n.Ingress}
	if !c.IsRunning() || c.Live == nil {
		return now, nil
	}
	if err := r.apply(ctx, &next); err != nil {
		return had, errors.Join(err, r.Restore(ctx, c, rules))
	}
	return now, nil
}

// Restore puts the stored rules of a container in force again, after an Update to rules.
func (r Egress) Restore(ctx context.Context, c *container.Container, rules policy.Rules) error {
	if rules.IsEmpty() || !c.IsRunning() || c.Live == nil {
		return nil
	}
	return r.apply(ctx, c)
}

// apply puts the rules of a running container in force: first for packets, then for names.
func (r Egress) apply(ctx context.Context, c *container.Container) error {
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()
	if err := r.Policies.Apply(ctx, policy.MemberOf(c, c.Live.Endpoints)); err != nil {
		return err
	}
	return r.updateNames(ctx, c, c.Live)
}

// resync puts rules in force where natagent has others, as after a policy was stored and a crash.
func (r Egress) resync(ctx context.Context) error {
	differ, err := r.Policies.Resync(ctx)
	errs := []error{err}
	for _, uid := range differ {
		errs = append(errs, r.reapply(ctx, uid))
	}
	return errors.Join(errs...)
}

// reapply puts the rules of a container in force if it is running.
func (r Egress) reapply(ctx context.Context, uid string) error {
	c, unlock, err := r.FindAndLock(ctx, uid)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if !c.IsRunning() || c.Live == nil || c.Live.SharedWith != "" {
		return nil
	}
	return r.apply(context.WithoutCancel(ctx), c)
}

// connectable rejects a new network of a running container with a policy: its interface would
// be up before the policy is in force on it.
func (r Egress) connectable(c *container.Container) error {
	if !c.IsRunning() || r.Policies.Of(policy.MemberOf(c, c.Live.Endpoints)).IsEmpty() {
		return nil
	}
	return fault.New(fault.Busy, c.Subject(),
		"cannot be connected to a network while it is running: it has an egress policy",
		fault.WithHint("stop the container, connect it, and start it"))
}
