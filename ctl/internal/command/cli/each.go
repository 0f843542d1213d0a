package cli

import (
	"context"
	"errors"
	"strings"
)

// IgnoredError is an error of Each that is printed and does not make the exit code 1.
type IgnoredError struct{ Err error }

func (e *IgnoredError) Error() string { return e.Err.Error() }

// WarningsError is what an object of Each has given beside its output: warnings, and no error.
type WarningsError []string

func (w WarningsError) Error() string { return strings.Join(w, "; ") }

// parallel is how many objects of one command line are worked on at once.
const parallel = 16

// result is what one object gave.
type result struct {
	output string
	err    error
}

// Each does the same for every name, several at once, and prints in the names' order what each gives. Errors are printed as they
// come up and do not keep the others from being done; together they make the exit code 1.
func (c *CLI) Each(ctx context.Context, names []string, do func(ctx context.Context, name string) (output string, err error)) error {
	failed := false
	for _, r := range begin(names, func(name string) result {
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

// begin starts the work on all names, no more than parallel at once, and gives where each result will come.
func begin(names []string, do func(name string) result) []chan result {
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
