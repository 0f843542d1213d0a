package cli

import (
	"context"
	"errors"
	"strings"
)

// IgnoredError is an error of Each that is printed and does not change the exit code.
type IgnoredError struct{ Err error }

func (e *IgnoredError) Error() string { return e.Err.Error() }

// WarningsError holds the warnings of one object of Each, which succeeded.
type WarningsError []string

func (w WarningsError) Error() string { return strings.Join(w, "; ") }

// parallel limits the objects of one command line that are processed concurrently.
const parallel = 16

// result is the result for one object.
type result struct {
	output string
	err    error
}

// Each calls do for every name concurrently and prints the outputs in the order of names. An error
// is printed and does not stop the other calls; the exit code is then 1.
func (c *CLI) Each(ctx context.Context, names []string,
	do func(ctx context.Context, name string) (output string, err error)) error {
	failed := false
	for _, r := range start(names, func(name string) result {
		output, err := do(ctx, name)
		return result{output, err}
	}) {
		got := <-r
		if w, ok := errors.AsType[WarningsError](got.err); ok {
			c.Warn(w...)
			got.err = nil
		}
		if got.err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			_, tolerated := errors.AsType[*IgnoredError](got.err)
			failed = failed || !tolerated
			c.PrintError(got.err)
			continue
		}
		if got.output != "" {
			c.Println(got.output)
		}
	}

	if failed {
		return ExitWithCode(ExitFailure)
	}

	return nil
}

// start calls do for all names, at most parallel at a time, and returns a channel for each result.
func start(names []string, do func(name string) result) []chan result {
	results := make([]chan result, len(names))
	for i := range results {
		results[i] = make(chan result, 1)
	}

	free := make(chan struct{}, parallel)
	go func() {
		for i, name := range names {
			free <- struct{}{}
			go func() {
				results[i] <- do(name)
				<-free
			}()
		}
	}()

	return results
}
