package attach

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/agent/control"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/cause"
)

const (
	// workers is the number of sandboxes that are applied concurrently.
	workers = 4
	// busyRetry is the delay before a sandbox that is being changed is applied.
	busyRetry = 50 * time.Millisecond
	// maxBackoff is the longest delay before a failed sandbox is applied again.
	maxBackoff = 30 * time.Second
)

// newController returns the controller that applies the sandboxes of owners. Its keys come from
// Touch: package damage adds the owners that a kernel event concerns, package bringup those that
// differ on the host, and those on a new link. Both join bursts of events themselves.
func newController(m *Syncer) *control.Controller[string] {
	return control.New(m.sync, control.Config[string]{Workers: workers, MinBackoff: time.Second,
		MaxBackoff: maxBackoff,
		OnError: func(owner string, err error, _ time.Duration) {
			m.log.Error("container network cannot be repaired", "owner", owner, "error", err)
		}})
}

// Run applies the sandboxes of touched owners until ctx ends.
func (m *Syncer) Run(ctx context.Context) { m.controller.Run(ctx) }

// Touch requests that the sandboxes of owners are applied soon. program caused the need; empty: it is
// unknown.
func (m *Syncer) Touch(program string, owners ...string) {
	for _, owner := range owners {
		m.programs.Note(program, owner)
	}
	m.controller.Add(owners...)
}

// sync applies the sandbox of an owner. It does not wait for a sandbox that is being changed: its
// request can take long, and applies the sandbox itself.
func (m *Syncer) sync(_ context.Context, owner string) (again time.Duration, err error) {
	unlock, free := m.locks.TryOwner(owner)
	if !free {
		return busyRetry, nil
	}
	defer unlock()

	program := cause.OrUnknown(m.programs.Take(owner))
	changes, err := m.apply(owner)
	if len(changes) > 0 {
		m.log.Warn("container network repaired after an external change", "owner", owner, "program", program,
			"changes", changes)
	}
	if fault.Is(err, fault.Unavailable) {
		return 0, nil // package bringup touches the owners when the link is back
	}
	return 0, err
}
