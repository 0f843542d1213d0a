// Package reconcile keeps the firewall as the store says: at the start, when somebody else has changed it, and now and then
// in case nobody said so. It also sees to it that one change is made at a time.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/natagent/conntrack"
	"github.com/fairlead/fairlead/services/natagent/firewall"
)

// Store says what shall be.
type Store interface {
	State() firewall.State
}

// Flows can be cut.
type Flows interface {
	Cut(ctx context.Context, cuts []conntrack.Cut) error
}

// Reconciler compares and mends.
type Reconciler struct {
	store    Store
	firewall firewall.Firewall
	flows    Flows
	log      *slog.Logger

	turn  chan struct{} // holds one token: whoever has it may change things
	ready chan struct{} // closed after the first reconcile
}

// New makes a reconciler.
func New(store Store, fw firewall.Firewall, flows Flows, log *slog.Logger) *Reconciler {
	r := &Reconciler{store: store, firewall: fw, flows: flows, log: log,
		turn: make(chan struct{}, 1), ready: make(chan struct{})}
	r.turn <- struct{}{}
	return r
}

// Begin waits until the first reconcile is done and nobody else is making a change. end must be called.
func (r *Reconciler) Begin(ctx context.Context) (end func(), err error) {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "natagent", "is not ready yet", fault.WithCause(ctx.Err()))
	}
	return r.take(ctx)
}

func (r *Reconciler) take(ctx context.Context) (end func(), err error) {
	select {
	case <-r.turn:
		return func() { r.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Mend makes the firewall be as the store says. It is for those who are between Begin and end.
func (r *Reconciler) Mend(ctx context.Context) error {
	change, err := r.firewall.Sync(ctx, r.store.State())
	if err != nil {
		return err
	}
	if change.Rebuilt || change.Added > 0 || len(change.Removed) > 0 {
		r.log.Info("firewall reconciled", "rules", change.Rebuilt, "added", change.Added, "withdrawn", len(change.Removed))
	}
	if err := r.flows.Cut(ctx, conntrack.Withdrawn(change.Removed)); err != nil {
		r.log.Warn("flows to ports that are published no more were not cut", "error", err)
	}
	return nil
}

// Pace is how often to look.
type Pace struct {
	Tick  time.Duration // without any reason
	Retry time.Duration // after a failure
	Rest  time.Duration // at least this long between two looks for changes that others make
}

// DefaultPace looks once a minute.
func DefaultPace() Pace {
	return Pace{Tick: time.Minute, Retry: time.Second, Rest: 100 * time.Millisecond}
}

// Also is something else to put right: in its turn, with nobody else changing anything, or aside.
type Also struct {
	InTurn func(ctx context.Context) error
	Aside  func(ctx context.Context) error
}

// Run reconciles, calls ready, and goes on until ctx ends. An error at the start is answered; later ones are logged and what
// they kept from being done is tried again.
func (r *Reconciler) Run(ctx context.Context, pace Pace, also Also, ready func()) error {
	changed, err := r.firewall.Watch(ctx)
	if err != nil {
		return err
	}
	if err := r.once(ctx, also); err != nil {
		return err
	}
	close(r.ready)
	ready()
	for wait := pace.Tick; ; {
		if !pause(ctx, wait, changed) {
			return nil
		}
		wait = pace.Tick
		if err := r.once(ctx, also); err != nil && ctx.Err() == nil {
			r.log.Error("firewall not reconciled; will try again", "error", err)
			wait = pace.Retry
		}
		if !pause(ctx, pace.Rest, nil) {
			return nil
		}
	}
}

func (r *Reconciler) once(ctx context.Context, also Also) error {
	end, err := r.take(ctx)
	if err != nil {
		return err
	}
	err = errors.Join(r.Mend(ctx), also.InTurn(ctx))
	end()
	return errors.Join(err, also.Aside(ctx))
}

// pause waits for a time or a signal. It answers false if ctx ended.
func pause(ctx context.Context, d time.Duration, signal <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
	case <-signal:
	}
	return ctx.Err() == nil
}
