package reconcile_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/reconcile"
)

const timeout = time.Minute

// fake implements store, firewall and flows. Sync returns the next error of answers, then nil.
type fake struct {
	firewall.Firewall
	changed chan firewall.Modifier
	synced  chan struct{}
	answers chan error
	cut     chan int
}

func newFake() *fake {
	return &fake{changed: make(chan firewall.Modifier, 1), synced: make(chan struct{}, 100),
		answers: make(chan error, 10), cut: make(chan int, 100)}
}

func (f *fake) State() firewall.State { return firewall.State{} }

func (f *fake) Watch(context.Context) (<-chan firewall.Modifier, error) { return f.changed, nil }

func (f *fake) Sync(context.Context, firewall.State) (firewall.Change, error) {
	f.synced <- struct{}{}
	select {
	case err := <-f.answers:
		return firewall.Change{}, err
	default:
		return firewall.Change{Removed: []port.Binding{{Protocol: port.UDP}}}, nil
	}
}

func (f *fake) Delete(_ context.Context, cuts []conntrack.Selector) error {
	f.cut <- len(cuts)
	return nil
}

func nothing(context.Context) error { return nil }

func also() reconcile.Hooks { return reconcile.Hooks{Locked: nothing, Unlocked: nothing} }

func await[T any](t *testing.T, what string, c <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(timeout):
		t.Fatalf("%s: timeout", what)
	}
	return got
}

// run starts a reconciler without resync.
func run(t *testing.T, f *fake, pace reconcile.Intervals) (*reconcile.Reconciler, <-chan struct{}) {
	t.Helper()
	r := reconcile.New(f, f, f, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- r.Run(ctx, pace, also(), func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := await(t, "the end", done); err != nil {
			t.Errorf("Run: %v", err)
		}
	})

	return r, ready
}

func TestReconcileTriggers(t *testing.T) {
	f := newFake()
	r, ready := run(t, f, reconcile.Intervals{Tick: time.Hour, Retry: time.Millisecond})
	await(t, "ready", ready)
	await(t, "the first", f.synced)
	if n := await(t, "flows of what was withdrawn", f.cut); n != 1 {
		t.Errorf("%d cuts", n)
	}

	f.answers <- errors.New("busy")
	f.changed <- firewall.Modifier{}
	await(t, "after a signal", f.synced)
	await(t, "after a failure", f.synced)
	if m := r.ExternalChanges(); m.Times != 0 {
		t.Errorf("got %+v after a failed sync, want none", m)
	}

	f.changed <- firewall.Modifier{Name: "nft", PID: 7}
	await(t, "after another signal", f.synced)
	for m := r.ExternalChanges(); m.Times != 1 || m.Last.String() != "nft (pid 7)"; m = r.ExternalChanges() {
		select {
		case <-t.Context().Done():
		case <-time.After(timeout):
			t.Fatalf("got %+v, want one change by nft", m)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestItReconcilesNowAndThen(t *testing.T) {
	f := newFake()
	run(t, f, reconcile.Intervals{Tick: time.Millisecond, Retry: time.Hour})
	for range 3 {
		await(t, "a tick", f.synced)
	}
}

func TestRunReturnsFirstError(t *testing.T) {
	f, boom := newFake(), errors.New("boom")
	f.answers <- boom
	r := reconcile.New(f, f, f, slog.New(slog.DiscardHandler))
	err := r.Run(context.Background(), reconcile.DefaultPace(), also(), func() { t.Error("ready") })
	if !errors.Is(err, boom) {
		t.Errorf("Run: %v, want boom", err)
	}
}

func TestLockSerializesChanges(t *testing.T) {
	f := newFake()
	early := reconcile.New(f, f, f, slog.New(slog.DiscardHandler))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := early.Lock(ended); !fault.Is(err, fault.Unavailable) {
		t.Errorf("before Run: %v, want an Unavailable fault", err)
	}

	r, ready := run(t, f, reconcile.Intervals{Tick: time.Hour})
	await(t, "ready", ready)
	end, err := r.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lock(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("second Lock: got %v, want to wait until canceled", err)
	}

	end()
	end, err = r.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}

	end()
}
