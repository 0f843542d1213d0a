// Package saga runs a list of steps, side by side where they do not need each other, and takes back what was done when one
// fails.
//
// A step's Undo must work whatever came of its Do: done, half done, or never begun. It may use only what outlives the process,
// such as the owner's id. So the same list serves a failed launch, a removal, and the clearing after a crash.
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

// Step is one thing to do, and how to take it back.
type Step struct {
	Name  string
	After []string // the names of steps that must be done first; they stand earlier in the list
	Do    func(ctx context.Context) error
	Undo  func(ctx context.Context) error // nil if there is nothing to take back
}

// Observer is told when a step begins. It may be called from several goroutines.
type Observer func(step string)

// Run does all steps. If one fails, or ctx ends, those under way are waited for, every step that was begun is undone,
// and the error says in which step it happened.
func Run(ctx context.Context, steps []Step, observe Observer) error {
	if err := check(steps); err != nil {
		return err
	}
	begun, err := doAll(ctx, steps, observe)
	if err == nil {
		return nil
	}
	var undo []Step
	for i, s := range steps {
		if begun[i] {
			undo = append(undo, s)
		}
	}
	return errors.Join(err, Undo(ctx, UndoTimeout, undo))
}

// Undo takes all steps back, each after those that came after it, the rest side by side. All are tried, also when ctx has
// ended or another one fails, each for at most limit; the errors are joined. Steps that an After names and that are not in the list do not matter.
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
			if slices.Contains(l.After, s.Name) {
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

// check finds lists that could never be done.
func check(steps []Step) error {
	known := map[string]bool{}
	for _, s := range steps {
		for _, a := range s.After {
			if !known[a] {
				return fault.New(fault.Internal, "step "+s.Name, fmt.Sprintf("it comes after %q, which is not before it in the list", a))
			}
		}
		if known[s.Name] {
			return fault.New(fault.Internal, "step "+s.Name, "it is in the list twice")
		}
		known[s.Name] = true
	}
	return nil
}

type outcome struct {
	step int
	err  error
}

// doAll starts each step as soon as those that it comes after are done, and answers which were begun.
func doAll(ctx context.Context, steps []Step, observe Observer) (begun []bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun = make([]bool, len(steps))
	done := make(map[string]bool, len(steps))
	outcomes := make(chan outcome)
	running := 0
	for {
		if err == nil {
			err = ctx.Err()
		}
		for i, s := range steps {
			if err != nil || begun[i] || !allDone(done, s.After) {
				continue
			}
			begun[i] = true
			running++
			observe(s.Name)
			go func() { outcomes <- outcome{i, s.Do(ctx)} }()
		}
		if running == 0 {
			return begun, err
		}
		o := <-outcomes
		running--
		done[steps[o.step].Name] = o.err == nil
		if o.err != nil && err == nil { // later ones are mostly echoes of the cancel
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

// inStep notes the step in a fault, or makes one of another error.
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
