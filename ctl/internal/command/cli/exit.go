package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/fairlead/fairlead/ctl/internal/escape"
	"github.com/fairlead/fairlead/proto/fault"
)

// Exit codes of the program itself.
const (
	ExitFailure       = 1   // a command failed
	ExitRunFailed     = 125 // no container was started, or a flag is invalid
	ExitNotExecutable = 126 // the command in the container cannot be executed
	ExitNotFound      = 127 // the command does not exist in the container
	BySignal          = 128 // plus the signal number
)

// ExitError exits the program with a code.
type ExitError struct {
	Code int
	Err  error // printed if it is not nil
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the printed error.
func (e *ExitError) Unwrap() error { return e.Err }

// ExitWithCode returns an error that exits with a code and prints nothing, or nil for the code 0.
func ExitWithCode(code int) error {
	if code == 0 {
		return nil
	}
	return &ExitError{Code: code}
}

// WithRunExitCode sets Docker's exit code for a command that runs a process: 127 if its command was
// not found, 126 if it could not be executed, and otherwise in other cases.
func WithRunExitCode(err error, otherwise int) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case fault.ReasonOf(err) == fault.ReasonCommandNotFound:
		return &ExitError{ExitNotFound, err}
	case fault.ReasonOf(err) == fault.ReasonCommandNotExecutable:
		return &ExitError{ExitNotExecutable, err}
	}

	if _, ok := errors.AsType[*ExitError](err); ok {
		return err
	}

	return &ExitError{otherwise, err}
}

// UsageError is an error of the command line. It refers to the help of the command.
type UsageError struct {
	Command string // "fairlead run"; empty to omit the reference to the help
	Code    int
	Err     error
}

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the error without the reference.
func (e *UsageError) Unwrap() error { return e.Err }

// Verbatim is an error that is printed without a prefix.
type Verbatim string

func (e Verbatim) Error() string { return string(e) }

// ExitCode prints err and returns the exit code of the program.
func (c *CLI) ExitCode(ctx context.Context, err error) int {
	if sig, ok := errors.AsType[*Interrupted](context.Cause(ctx)); ok {
		return BySignal + int(sig.Signal)
	}
	if err == nil {
		return 0
	}

	if u, ok := errors.AsType[*UsageError](err); ok {
		if u.Command == "" {
			c.PrintError(u.Err)
		} else {
			c.PrintError(fmt.Errorf("%w; see '%s --help'", u.Err, u.Command))
		}
		return u.Code
	}

	code := ExitFailure
	if e, ok := errors.AsType[*ExitError](err); ok {
		if e.Err == nil {
			return e.Code
		}
		code, err = e.Code, e.Err
	}

	if v, ok := errors.AsType[Verbatim](err); ok {
		_, _ = fmt.Fprintln(c.Err, escape.Text(string(v)))
		return code
	}

	c.PrintError(err)
	return code
}

// Interrupted is the cause of a context that a signal canceled.
type Interrupted struct{ Signal syscall.Signal }

func (e *Interrupted) Error() string { return "interrupted by " + e.Signal.String() }
