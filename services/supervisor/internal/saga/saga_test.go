package saga_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// journal records which steps are done and undone, in order.
type journal struct {
	mu   sync.Mutex
	list []string
}

func (j *journal) note(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, s)
}

func (j *journal) step(name string, fails error, after ...string) saga.Step {
	return saga.Step{Name: name, After: after,
		Do:   func(context.Context) error { j.note("do " + name); return fails },
		Undo: func(context.Context) error { j.note("undo " + name); return nil },
	}
}

func quiet(string) {}

func TestRunOrdersDependentSteps(t *testing.T) {
	var j journal
	err := saga.Run(t.Context(), []saga.Step{j.step("a", nil), j.step("b", nil, "a"), j.step("c", nil, "b")}, quiet)
	if want := []string{"do a", "do b", "do c"}; err != nil || !slices.Equal(j.list, want) {
		t.Errorf("got %v, %v, want %v", j.list, err, want)
	}
}

func TestRunExecutesIndependentStepsConcurrently(t *testing.T) {
	var meet sync.WaitGroup
	meet.Add(2)
	together := func(context.Context) error {
		meet.Done()
		meet.Wait() // hangs unless the other step runs now
		return nil
	}

	done := make(chan error, 1)
	go func() {
		done <- saga.Run(t.Context(), []saga.Step{{Name: "a", Do: together}, {Name: "b", Do: together}}, quiet)
	}()

	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("independent steps did not run concurrently")
	}
}

func TestRunFailureUndoesInReverse(t *testing.T) {
	var j journal
	boom := fault.NotFoundf("thing", "is not there")
	err := saga.Run(t.Context(), []saga.Step{
		j.step("a", nil), j.step("b", nil, "a"), j.step("c", boom, "b"), j.step("d", nil, "c"),
	}, quiet)
	if want := []string{"do a", "do b", "do c", "undo c", "undo b", "undo a"}; !slices.Equal(j.list, want) {
		t.Errorf("got %v, want %v", j.list, want)
	}

	f, ok := errors.AsType[*fault.Fault](err)
	if !ok || f.Kind != fault.NotFound || f.Step != "c" {
		t.Errorf("got %#v, want NotFound in step c", err)
	}

	if boom.Step != "" {
		t.Error("Run modified the error of the step")
	}
}

// A step can be undone after one that it does not delay.
func TestUndoAfterStepThatDidNotWait(t *testing.T) {
	var j journal
	begun := make(chan struct{})
	first := saga.Step{Name: "rules", UndoAfter: []string{"process", "not in the list"},
		Do: func(context.Context) error {
			<-begun // "process" does not wait for it
			return nil
		}, Undo: func(context.Context) error { j.note("undo rules"); return nil }}
	second := saga.Step{Name: "process", Do: func(context.Context) error { close(begun); return nil },
		Undo: func(context.Context) error {
			time.Sleep(20 * time.Millisecond) // the other one does not begin meanwhile
			j.note("undo process")
			return nil
		}}
	last := j.step("start", fault.NotFoundf("thing", "is not there"), "rules", "process")
	if err := saga.Run(t.Context(), []saga.Step{first, second, last}, quiet); err == nil {
		t.Fatal("got no error")
	}
	if want := []string{"do start", "undo start", "undo process", "undo rules"}; !slices.Equal(j.list, want) {
		t.Errorf("got %v, want %v", j.list, want)
	}
}

func TestUndoContinuesAfterErrorAndCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var undone []string
	undo := func(name string, err error) func(context.Context) error {
		return func(ctx context.Context) error {
			if ctx.Err() != nil {
				t.Errorf("undo %s: context is done", name)
			}
			undone = append(undone, name)
			return err
		}
	}

	err := saga.Run(ctx, []saga.Step{
		{Name: "a", Do: func(context.Context) error { return nil }, Undo: undo("a", nil)},
		{Name: "b", After: []string{"a"}, Do: func(context.Context) error { return nil },
			Undo: undo("b", errors.New("stuck"))},
		{Name: "c", After: []string{"b"}, Do: func(ctx context.Context) error { cancel(); return ctx.Err() },
			Undo: undo("c", nil)},
	}, quiet)
	if !slices.Equal(undone, []string{"c", "b", "a"}) {
		t.Errorf("got %v undone", undone)
	}

	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}

func TestRunRejectsInvalidList(t *testing.T) {
	var j journal
	for _, steps := range [][]saga.Step{
		{j.step("a", nil, "b"), j.step("b", nil)},
		{j.step("a", nil), j.step("a", nil)},
	} {
		if err := saga.Run(t.Context(), steps, quiet); err == nil || len(j.list) > 0 {
			t.Errorf("got %v, done %v, want Internal and no step", err, j.list)
		}
	}
}

// Whatever the dependencies and whichever step fails: a step begins only after those it needs are
// done, what was begun is undone exactly once, and nothing else is.
func TestPropertyStartedStepsAreUndone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(rt, "steps")
		failing := rapid.IntRange(-1, n-1).Draw(rt, "failing")
		var j journal
		var steps []saga.Step
		for i := range n {
			var after []string
			for k := range i {
				if rapid.Bool().Draw(rt, "needs") {
					after = append(after, string(rune('a'+k)))
				}
			}
			var fails error
			if i == failing {
				fails = errors.New("boom")
			}
			steps = append(steps, j.step(string(rune('a'+i)), fails, after...))
		}
		err := saga.Run(context.Background(), steps, quiet)
		if (err != nil) != (failing >= 0) {
			rt.Fatalf("got %v with failing step %d", err, failing)
		}
		for _, s := range steps {
			did, undid := slices.Index(j.list, "do "+s.Name), slices.Index(j.list, "undo "+s.Name)
			if (undid >= 0) != (did >= 0 && err != nil) {
				rt.Fatalf("step %s: done at %d, undone at %d, err %v: %v", s.Name, did, undid, err, j.list)
			}
			for _, a := range s.After {
				if before := slices.Index(j.list, "do "+a); did >= 0 && (before < 0 || before > did) {
					rt.Fatalf("step %s started before %s: %v", s.Name, a, j.list)
				}
			}
		}
	})
}
