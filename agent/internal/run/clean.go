package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/internal/route"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
)

// Clean removes everything that the services keep in the kernel, dependent services first. No agent
// may run. It fails if containers use the network, unless force is true. State on disk is kept, and
// the next start restores the network.
func Clean(ctx context.Context, o Options, force bool) (err error) {
	claims, err := acquireInstance(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claims.release()) }()
	peers, err := route.Dial(o.Config, o.All)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peers.Close()) }()
	a, err := newAgent(ctx, o, peers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if users := a.users(); len(users) > 0 && !force {
		return fault.New(fault.Busy, "network state", "in use by "+strings.Join(users, ", "),
			fault.WithHint("stop the containers first, or use --force"))
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

// WithClaims calls f while no agent runs on the roots of o and none can start.
func WithClaims(o Options, f func() error) (err error) {
	claims, err := acquireInstance(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claims.release()) }()
	return f()
}

// users returns the users of the kernel state, for messages.
func (a *agent) users() (all []string) {
	for _, m := range a.members {
		if c, ok := m.service.(service.Cleaner); ok {
			all = append(all, c.Users()...)
		}
	}
	return all
}
