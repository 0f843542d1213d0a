package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/fairlead/fairlead/ctl/internal/escape"
	"github.com/fairlead/fairlead/proto/fault"
)

// Exit codes that are not a container's.
const (
	ExitFailure       = 1   // a command could not do what it was asked for
	ExitRunFailed     = 125 // no container came to run, or a flag is wrong
	ExitNotExecutable = 126 // the command in the container cannot be executed
	ExitNotFound      = 127 // the command is not in the container
	BySignal          = 128 // and the signal's number
)

// ExitError ends the program with a code.
type ExitError struct {
	Code int
	Err  error // what to print; nil for nothing
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap gives what is printed.
func (e *ExitError) Unwrap() error { return e.Err }

// ExitWithCode ends the program with a code and nothing more to say; nil for the code 0.
func ExitWithCode(code int) error {
	if code == 0 {
		return nil
	}
	return &ExitError{Code: code}
}

// WithRunExitCode gives the failure of a command that runs something its exit code, which is Docker's: 127 if the command was not found,
// 126 if it could not be executed, else otherwise.
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

// UsageError is a command line that cannot be understood. Its end says where to read on.
type UsageError struct {
	Command string // "fairlead run"; empty if the error itself says what to do
	Code    int
	Err     error
}

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives what is wrong.
func (e *UsageError) Unwrap() error { return e.Err }

// Verbatim is an error that is printed as it stands.
type Verbatim string

func (e Verbatim) Error() string { return string(e) }

// ExitCode prints what err has to say and gives the program's exit code.
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

// Interrupted is why a context ended: the user sent the program a signal.
type Interrupted struct{ Signal syscall.Signal }

func (e *Interrupted) Error() string { return "interrupted by " + e.Signal.String() }
