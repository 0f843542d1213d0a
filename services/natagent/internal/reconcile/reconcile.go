// Package reconcile keeps the firewall as the store says: at the start, when somebody else has changed it, and now and then
// in case nobody said so. It also sees to it that one change is made at a time.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// Store says what shall be.
type Store interface {
	State() firewall.State
}

// Flows can be cut.
type Flows interface {
	Delete(ctx context.Context, cuts []conntrack.Selector) error
}

// Reconciler compares and mends.
type Reconciler struct {
	store    Store
	firewall firewall.Firewall
	flows    Flows
	log      *slog.Logger

	turn  chan struct{} // holds one token: whoever has it may change things
	ready chan struct{} // closed after the first reconcile

	mu       sync.Mutex
	meddling ExternalChanges
}

// New makes a reconciler.
func New(store Store, fw firewall.Firewall, flows Flows, log *slog.Logger) *Reconciler {
	r := &Reconciler{store: store, firewall: fw, flows: flows, log: log,
		turn: make(chan struct{}, 1), ready: make(chan struct{})}
	r.turn <- struct{}{}
	return r
}

// Lock waits until the first reconcile is done and nobody else is making a change. end must be called.
func (r *Reconciler) Lock(ctx context.Context) (end func(), err error) {
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

// Repair makes the firewall be as the store says. It is for those who are between Begin and end.
func (r *Reconciler) Repair(ctx context.Context) error { return r.repair(ctx, nil) }

// repair is Mend after a stranger may have changed something; nil if nothing speaks for that.
func (r *Reconciler) repair(ctx context.Context, after *firewall.Modifier) error {
	want := r.store.State()
	change, err := r.firewall.Sync(ctx, want)
	if err != nil {
		return err
	}
	if change.Rebuilt || change.Added > 0 || len(change.Removed) > 0 {
		r.logChange(change, after)
	}
	cuts := conntrack.ForWithdrawn(change.Removed)
	if change.Rebuilt || change.Added > 0 {
		leaving, inside := subnets(want.Networks)
		cuts = append(cuts, conntrack.Missed(want.Bindings, leaving, inside)...)
	}
	if err := r.flows.Delete(ctx, cuts); err != nil {
		r.log.Warn("flows that go where they should not were not cut", "error", err)
	}
	return nil
}

// subnets are those whose addresses are translated outside, and all.
func subnets(networks []firewall.Network) (leaving, all []netip.Prefix) {
	for _, n := range networks {
		all = append(all, n.Subnets...)
		for _, p := range n.Subnets {
			if n.Masquerade && !n.Internal && !slices.Contains(n.Routed, p) {
				leaving = append(leaving, p)
			}
		}
	}
	return leaving, all
}

// logChange logs what was put right, and counts it if somebody else had done the wrong.
func (r *Reconciler) logChange(change firewall.Change, after *firewall.Modifier) {
	what := []any{"rules", change.Rebuilt, "added", change.Added, "withdrawn", len(change.Removed)}
	if after == nil {
		r.log.Info("firewall reconciled", what...)
		return
	}
	r.mu.Lock()
	r.meddling = ExternalChanges{Times: r.meddling.Times + 1, Last: *after, At: time.Now()}
	times := r.meddling.Times
	r.mu.Unlock()
	r.log.Warn("another program has changed our rules; they are put right", append(what, "program", after.String(), "times", times)...)
}

// ExternalChanges is how often others have changed our rules, and who did so last.
type ExternalChanges struct {
	Times int
	Last  firewall.Modifier
	At    time.Time
}

// Meddling tells what others have done since natagent started.
func (r *Reconciler) Meddling() ExternalChanges {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.meddling
}

// Intervals is how often to look.
type Intervals struct {
	Tick     time.Duration // without any reason
	Retry    time.Duration // after a failure
	Debounce time.Duration // at least this long between two looks for changes that others make
}

// DefaultPace looks once a minute.
func DefaultPace() Intervals {
	return Intervals{Tick: time.Minute, Retry: time.Second, Debounce: 100 * time.Millisecond}
}

// Hooks is something else to put right: in its turn, with nobody else changing anything, or aside.
type Hooks struct {
	Locked   func(ctx context.Context) error
	Unlocked func(ctx context.Context) error
	Trigger  <-chan struct{} // a reason to do what is aside at once; nil: there is none
}

// Run reconciles, calls ready, and goes on until ctx ends. An error at the start is answered; later ones are logged and what
// they kept from being done is tried again.
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
			r.log.Error("firewall not reconciled; will try again", "error", err)
			wait = pace.Retry
		}
		pause(ctx, pace.Debounce, nil, nil)
	}
}

// runOnce does what there is a reason for.
func (r *Reconciler) runOnce(ctx context.Context, also Hooks, why trigger) error {
	if why.aside {
		return also.Unlocked(ctx)
	}
	return r.once(ctx, also, why.stranger)
}

func (r *Reconciler) once(ctx context.Context, also Hooks, after *firewall.Modifier) error {
	end, err := r.take(ctx)
	if err != nil {
		return err
	}
	err = errors.Join(r.repair(ctx, after), also.Locked(ctx))
	end()
	return errors.Join(err, also.Unlocked(ctx))
}

// trigger is why to look: for a stranger's doing, at what is aside only, or, the zero one, because it is time to.
type trigger struct {
	stranger *firewall.Modifier
	aside    bool
}

// pause waits for a reason, or for ctx to end.
func pause(ctx context.Context, d time.Duration, changed <-chan firewall.Modifier, wake <-chan struct{}) (why trigger) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	case <-wake:
		why.aside = true
	case who := <-changed:
		why.stranger = &who
	}
	return why
}
