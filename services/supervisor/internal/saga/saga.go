// Package saga runs a list of steps, concurrently where they do not depend on each other, and
// undoes them when one fails. Package run uses it for launches.
//
// Undo of a step must work whether its Do succeeded, failed, or never ran. It may depend only on
// persistent values, such as the owner's ID. A failed launch, a removal and the cleanup after a
// crash therefore use the same list.
package saga

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// UndoTimeout bounds each Undo of a failed Run.
const UndoTimeout = 20 * time.Second

// Step is an action with its undo.
type Step struct {
	Name  string
	After []string // names of steps that must succeed first; they precede it in the list
	// UndoAfter has names of later steps that must be undone first, though they need not wait for Do.
	UndoAfter []string
	Do        func(ctx context.Context) error
	Undo      func(ctx context.Context) error // nil if there is nothing to undo
}

// Observer is called with the name of each step that starts. It must be safe for concurrent use.
type Observer func(step string)

// Run executes all steps. If one fails or ctx is done, it waits for running steps, undoes all
// started steps, and returns an error with the name of the failed step.
func Run(ctx context.Context, steps []Step, observe Observer) error {
	if err := check(steps); err != nil {
		return err
	}

	started, err := doAll(ctx, steps, observe)
	if err == nil {
		return nil
	}

	var undo []Step
	for i, s := range steps {
		if started[i] {
			undo = append(undo, s)
		}
	}

	return errors.Join(err, Undo(ctx, UndoTimeout, undo))
}

// Undo undoes all steps in reverse order of their dependencies, otherwise concurrently. It runs
// each step, even if ctx is done or another one fails, for at most limit, and joins the errors.
// Names in After that are not in the list are ignored.
func Undo(ctx context.Context, limit time.Duration, steps []Step) error {
	ctx = context.WithoutCancel(ctx)
	undone := make(map[string]chan struct{}, len(steps))
	for _, s := range steps {
		undone[s.Name] = make(chan struct{})
	}

	errs := make([]error, len(steps))
	var all sync.WaitGroup
	for i, s := range steps {
		var later []chan struct{}
		for _, l := range steps[i+1:] {
			if slices.Contains(l.After, s.Name) || slices.Contains(s.UndoAfter, l.Name) {
				later = append(later, undone[l.Name])
			}
		}
		all.Go(func() {
			defer close(undone[s.Name])
			for _, l := range later {
				<-l
			}
			errs[i] = undoOne(ctx, limit, s)
		})
	}

	all.Wait()
	slices.Reverse(errs)
	return errors.Join(errs...)
}

func undoOne(ctx context.Context, limit time.Duration, s Step) error {
	if s.Undo == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := s.Undo(ctx); err != nil {
		return inStep(err, "undo "+s.Name)
	}
	return nil
}

// check rejects lists with unknown, late or duplicate steps.
func check(steps []Step) error {
	known := map[string]bool{}
	for _, s := range steps {
		for _, a := range s.After {
			if !known[a] {
				return fault.New(fault.Internal, "step "+s.Name,
					fmt.Sprintf("depends on %q, which does not precede it in the list", a))
			}
		}
		if known[s.Name] {
			return fault.New(fault.Internal, "step "+s.Name, "is in the list twice")
		}
		known[s.Name] = true
	}

	return nil
}

type outcome struct {
	step int
	err  error
}

// doAll starts each step when its dependencies have succeeded, and returns which steps were
// started.
func doAll(ctx context.Context, steps []Step, observe Observer) (started []bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	started = make([]bool, len(steps))
	done := make(map[string]bool, len(steps))
	outcomes := make(chan outcome)
	running := 0
	for {
		if err == nil {
			err = ctx.Err()
		}
		for i, s := range steps {
			if err != nil || started[i] || !allDone(done, s.After) {
				continue
			}
			started[i] = true
			running++
			observe(s.Name)
			go func() { outcomes <- outcome{i, s.Do(ctx)} }()
		}
		if running == 0 {
			return started, err
		}
		o := <-outcomes
		running--
		done[steps[o.step].Name] = o.err == nil
		if o.err != nil && err == nil { // later errors usually result from the cancellation
			err = inStep(o.err, steps[o.step].Name)
			cancel()
		}
	}
}

func allDone(done map[string]bool, names []string) bool {
	for _, n := range names {
		if !done[n] {
			return false
		}
	}
	return true
}

// inStep adds the step to a fault, or creates a fault from another error.
func inStep(err error, step string) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s: %w", step, err)
		}
		return &fault.Fault{Kind: fault.Internal, Message: err.Error(), Step: step}
	}
	noted := *f
	noted.Step = step
	return &noted
}
