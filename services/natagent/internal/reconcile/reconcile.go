// Package reconcile keeps the firewall in the state of the store: at the start, after external
// changes, and periodically. It also serializes changes.
//
// Packages publish and guard use its lock; the service runs it.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/keylock"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// Store holds the desired state.
type Store interface {
	State() firewall.State
}

// Flows deletes conntrack entries.
type Flows interface {
	Delete(ctx context.Context, cuts []conntrack.Selector) error
}

// Reconciler reconciles the firewall with the store.
type Reconciler struct {
	store    Store
	firewall firewall.Firewall
	flows    Flows
	log      *slog.Logger

	changes keylock.Single // the change lock
	ready   chan struct{}  // closed after the first reconcile

	mu       sync.Mutex
	external ExternalChanges
	outcomes map[string]uint64 // number of comparisons
}

// New returns a reconciler.
func New(store Store, fw firewall.Firewall, flows Flows, log *slog.Logger) *Reconciler {
	return &Reconciler{store: store, firewall: fw, flows: flows, log: log,
		changes: keylock.NewSingle(), ready: make(chan struct{}), outcomes: map[string]uint64{}}
}

// Lock waits for the first reconcile and acquires the change lock. end must be called.
func (r *Reconciler) Lock(ctx context.Context) (end func(), err error) {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "natagent", "is not ready yet", fault.WithCause(ctx.Err()))
	}
	return r.changes.LockContext(ctx)
}

// Repair reconciles the firewall with the store. The change lock must be held.
func (r *Reconciler) Repair(ctx context.Context) error { return r.repair(ctx, nil) }

// repair reconciles. after is the program that may have changed rules; nil if none is suspected.
func (r *Reconciler) repair(ctx context.Context, after *firewall.Modifier) error {
	want := r.store.State()
	change, err := r.firewall.Sync(ctx, want)
	r.count(change, err)
	if err != nil {
		return err
	}
	if change.Rebuilt || change.Added > 0 || len(change.Removed) > 0 {
		r.logChange(change, after)
	}

	cuts := conntrack.ForWithdrawn(change.Removed)
	if change.Rebuilt || change.Added > 0 {
		egress, inside := subnets(want.Networks)
		cuts = append(cuts, conntrack.Missed(want.Bindings, egress, inside)...)
	}

	if err := r.flows.Delete(ctx, cuts); err != nil {
		r.log.Warn("stale conntrack entries not deleted", "error", err)
	}

	return nil
}

// count counts a comparison by its outcome.
func (r *Reconciler) count(change firewall.Change, err error) {
	outcome := "unchanged"
	switch {
	case err != nil:
		outcome = "error"
	case change.Rebuilt:
		outcome = "rebuilt"
	case change.Added > 0 || len(change.Removed) > 0:
		outcome = "changed"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[outcome]++
}

// Outcomes returns the numbers of comparisons by outcome since natagent started.
func (r *Reconciler) Outcomes() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.outcomes)
}

// subnets returns the subnets with masquerade or SNAT, and all subnets.
func subnets(networks []firewall.Network) (egress, all []netip.Prefix) {
	for _, n := range networks {
		all = append(all, n.Subnets...)
		for _, p := range n.Subnets {
			if n.Masquerade && !n.Internal && !slices.Contains(n.Routed, p) {
				egress = append(egress, p)
			}
		}
	}
	return egress, all
}

// logChange logs a repair, and counts it if another program caused it.
func (r *Reconciler) logChange(change firewall.Change, after *firewall.Modifier) {
	what := []any{"rules", change.Rebuilt, "added", change.Added, "withdrawn", len(change.Removed)}
	if after == nil {
		r.log.Info("firewall reconciled", what...)
		return
	}
	r.mu.Lock()
	r.external = ExternalChanges{Times: r.external.Times + 1, Last: *after, At: time.Now()}
	times := r.external.Times
	r.mu.Unlock()
	r.log.Warn("firewall rules changed externally, restored",
		append(what, "program", after.String(), "times", times)...)
}

// ExternalChanges is the number of external changes, with the last one.
type ExternalChanges struct {
	Times int
	Last  firewall.Modifier
	At    time.Time
}

// ExternalChanges returns the external changes since natagent started.
func (r *Reconciler) ExternalChanges() ExternalChanges {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.external
}

// Intervals are the intervals of Run.
type Intervals struct {
	Tick     time.Duration // resync
	Retry    time.Duration // after a failure
	Debounce time.Duration // minimum between two reconciles after external changes
}

// DefaultPace returns intervals with a resync every minute.
func DefaultPace() Intervals {
	return Intervals{Tick: time.Minute, Retry: time.Second, Debounce: 100 * time.Millisecond}
}

// Hooks are functions that run with each reconcile, with or without the change lock.
type Hooks struct {
	Locked   func(ctx context.Context) error
	Unlocked func(ctx context.Context) error
	Trigger  <-chan struct{} // runs Unlocked immediately; can be nil
}

// Run reconciles, calls ready, and continues until ctx ends. It returns an error of the first
// reconcile; later ones are logged and retried.
func (r *Reconciler) Run(ctx context.Context, pace Intervals, also Hooks, ready func()) error {
	changed, err := r.firewall.Watch(ctx)
	if err != nil {
		return err
	}
	if err := r.once(ctx, also, nil); err != nil {
		return err
	}

	close(r.ready)
	ready()
	for wait := pace.Tick; ; {
		reason := pause(ctx, wait, changed, also.Trigger)
		if ctx.Err() != nil {
			return nil
		}
		wait = pace.Tick
		if err := r.runOnce(ctx, also, reason); err != nil && ctx.Err() == nil {
			r.log.Error("firewall reconcile failed, retrying", "error", err)
			wait = pace.Retry
		}
		pause(ctx, pace.Debounce, nil, nil)
	}
}

// runOnce runs what a trigger requires.
func (r *Reconciler) runOnce(ctx context.Context, also Hooks, why trigger) error {
	if why.unlockedOnly {
		return also.Unlocked(ctx)
	}
	return r.once(ctx, also, why.modifier)
}

func (r *Reconciler) once(ctx context.Context, also Hooks, after *firewall.Modifier) error {
	end, err := r.changes.LockContext(ctx)
	if err != nil {
		return err
	}
	err = errors.Join(r.repair(ctx, after), also.Locked(ctx))
	end()
	return errors.Join(err, also.Unlocked(ctx))
}

// trigger is the reason for a reconcile: an external change, the hook Unlocked only, or (zero) a
// resync.
type trigger struct {
	modifier     *firewall.Modifier
	unlockedOnly bool
}

// pause waits for a trigger or until ctx ends.
func pause(ctx context.Context, d time.Duration, changed <-chan firewall.Modifier, wake <-chan struct{}) (why trigger) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	case <-wake:
		why.unlockedOnly = true
	case who := <-changed:
		why.modifier = &who
	}
	return why
}
