package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
)

// Clean has the services take everything that they keep in the kernel away, those who ask others first. No agent may run meanwhile.
// While something uses it, it is only done by force. What is on disk stays: the next start makes all of it again.
func Clean(ctx context.Context, o Options, force bool) (err error) {
	claims, err := acquireInstance(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claims.release()) }()
	peers, err := dialPeers(o.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peers.close()) }()
	a, err := newAgent(ctx, o, peers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if users := a.users(); len(users) > 0 && !force {
		return fault.New(fault.Busy, "cleanup", "still in use by "+strings.Join(users, ", "),
			fault.WithHint("start the agent and stop them (fairlead stop), or give --force to take their network from under them"))
	}
	for _, m := range slices.Backward(a.members) {
		if c, ok := m.service.(service.Cleaner); ok {
			if cerr := c.Clean(ctx); cerr != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", m.Name, cerr))
			}
		}
	}
	return err
}

// WithClaims calls f while no agent runs on the roots of o, and none can start.
func WithClaims(o Options, f func() error) (err error) {
	claims, err := acquireInstance(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claims.release()) }()
	return f()
}

// users are whatever uses what the services keep in the kernel.
func (a *agent) users() (all []string) {
	for _, m := range a.members {
		if c, ok := m.service.(service.Cleaner); ok {
			all = append(all, c.Users()...)
		}
	}
	return all
}
