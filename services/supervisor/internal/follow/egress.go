package follow

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"slices"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// Egress changes the rules for traffic of containers.
type Egress struct{ *Follower }

// Update changes the rules of a container, in force immediately if it is running. It returns the rules to
// store. nil rules change nothing, limits are replaced. On failure the former rules are in force.
func (r Egress) Update(ctx context.Context, c *container.Container, rules policy.Rules) (policy.Rules, error) {
	had := policy.RulesOf(&c.Config.Network)
	if isUnchanged(c, rules) {
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
	n.Limits = rules.Limits
	if err := cmp.Or(next.Config.ValidatePolicies(), policy.CheckLimits(c.Config.Name, n.Mode, n.Limits)); err != nil {
		return had, err
	}

	now := policy.RulesOf(n)
	if !c.IsRunning() || c.Live == nil {
		return now, nil
	}
	if err := r.apply(ctx, &next); err != nil {
		return had, errors.Join(err, r.Restore(ctx, c, rules))
	}
	return now, nil
}

// Advice returns warnings about the rules of a container, if they were changed.
func (r Egress) Advice(c *container.Container, changes policy.Rules) []string {
	if changes.Egress == nil && changes.Ingress == nil {
		return nil
	}
	m := policy.MemberOf(c, nil)
	if c.Live != nil {
		m.Endpoints = c.Live.Endpoints
	}
	return r.Policies.Advice(m)
}

// Restore puts the stored rules of a container in force again, after an Update to rules.
func (r Egress) Restore(ctx context.Context, c *container.Container, rules policy.Rules) error {
	if isUnchanged(c, rules) || !c.IsRunning() || c.Live == nil {
		return nil
	}
	return r.apply(ctx, c)
}

// isUnchanged reports whether rules change nothing of a container.
func isUnchanged(c *container.Container, rules policy.Rules) bool {
	return rules.Egress == nil && rules.Ingress == nil && rules.Limits == c.Config.Network.Limits
}

// UpdateBandwidth changes the limit of a running container at its interfaces, and then in the firewall.
func (r Egress) UpdateBandwidth(ctx context.Context, c *container.Container, limit bandwidth.Limit) error {
	if err := r.Agents.SetBandwidth(ctx, c.ID, limit); err != nil {
		return err
	}
	next := *c
	next.Config.Network.Bandwidth = limit
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()
	return r.Policies.Apply(ctx, policy.MemberOf(&next, next.Live.Endpoints))
}

// apply puts the rules of a running container in force.
func (r Egress) apply(ctx context.Context, c *container.Container) error {
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()
	return r.enforce(ctx, c, c.Live)
}

// enforce puts the rules of a running container in force: first for packets, then for names. Rules are
// lifted in reverse order, those for packets not before the names are lifted: after a crash or a failure in
// between, natagent still has them, so that resync of this or the next process lifts both.
func (r Egress) enforce(ctx context.Context, c *container.Container, live *container.RunState) error {
	m := policy.MemberOf(c, live.Endpoints)
	packets := func() error { return r.Policies.Apply(ctx, m) }
	names := func() error { return r.updateNames(ctx, c, live) }
	var err error
	if len(r.Policies.Of(m).Egress) > 0 || r.Policies.Names(m) == nil { // no names to lift
		err = errors.Join(packets(), names())
	} else if err = names(); err == nil {
		err = packets()
	}

	if err != nil {
		r.Policies.MarkOutdated(c.ID)
	}
	return err
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

// connect connects a running container to a network. If rules apply to it then, nothing passes from and to
// the new interface before they are in force on it.
func (r Egress) connect(ctx context.Context, c *container.Container, a container.Attachment) (agents.Sandbox, error) {
	network, err := r.Agents.Network(ctx, a.Network)
	if err != nil {
		return agents.Sandbox{}, err
	}
	added := container.Endpoint{NetworkID: network.ID, NetworkName: network.Name, Driver: network.Driver,
		Bridge: network.Bridge, Egress: network.Egress, Limits: network.Limits, MAC: a.MAC}
	if added.MAC == "" {
		added.MAC = macOf(c.ID, network.ID)
	}

	after := c.Connected(a, c.Live)
	held, err := r.Policies.Hold(ctx, policy.MemberOf(after, append(slices.Clone(c.Live.Endpoints), added)))
	if err != nil {
		return agents.Sandbox{}, err
	}
	if held && !policy.IsInside(added) { // ipvlan has the address of its parent
		a.MAC = added.MAC
	}
	return r.Agents.ConnectEndpoint(ctx, c.ID, a, c.Config.Network.Bandwidth)
}

// macOf returns the MAC address of a container on a network, which must be known before it is connected. It
// is the same in each attempt.
func macOf(uid, network string) string {
	sum := sha256.Sum256([]byte(uid + network))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^1 | 2 // unicast, locally administered
	return mac.String()
}
