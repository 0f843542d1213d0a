package container

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/detachkeys"
	"github.com/fairlead/fairlead/ctl/internal/terminal"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// foreground attaches the user's streams to a process.
type foreground struct {
	tty, stdin bool
	sigProxy   bool
	noStdout   bool // discard the standard output
	noStderr   bool
	redraw     bool // change the terminal size, so that the process redraws its prompt
	detachKeys string

	keys []byte
}

func (f *foreground) addDetachKeysFlag(flags *pflag.FlagSet) {
	flags.StringVar(&f.detachKeys, "detach-keys", detachkeys.Default, "Key sequence that detaches the client")
}

func (f *foreground) addSigProxyFlag(flags *pflag.FlagSet) {
	flags.BoolVar(&f.sigProxy, "sig-proxy", true, "Forward signals to the process")
}

// check validates the options before a request is sent.
func (f *foreground) check(c *cli.CLI) (err error) {
	if f.keys, err = detachkeys.Parse(f.detachKeys); err != nil {
		return &cli.ExitError{Code: cli.ExitRunFailed, Err: err}
	}
	if f.tty && f.stdin && terminal.Of(c.In) == nil {
		return &cli.ExitError{Code: cli.ExitFailure, Err: errors.New("the input device is not a TTY")}
	}
	return nil
}

// size returns the size of the user's terminal, or nil without one or without --tty.
func (f *foreground) size(c *cli.CLI) *containerv1.TerminalSize {
	t := terminal.Of(c.Out)
	if !f.tty || t == nil {
		return nil
	}
	rows, columns := t.Size()
	return &containerv1.TerminalSize{Rows: uint32(rows), Columns: uint32(columns)}
}

// attachStreams copies the streams until the process exits and returns an error with its exit code.
// kill forwards a signal; nil leaves signals to the program. back is the hint for a lost
// connection.
func (f *foreground) attachStreams(c *cli.CLI, s *client.Session, kill func(syscall.Signal), back string) error {
	counter := &interruptCounter{kill: kill, leave: s.Close}
	if kill != nil {
		kill = counter.signal
	}

	code, err := f.pipe(c, s, kill)
	switch {
	case counter.left.Load():
		return &cli.ExitError{Code: cli.BySignal + int(counter.last), Err: fault.New(fault.Busy, "container "+s.ID,
			fmt.Sprintf("still running after %d signals",
				enoughSignals), fault.WithHint("remove it with: fairlead rm -f %s", id.Short(s.ID)))}
	case errors.Is(err, client.ErrDetached):
		_, _ = fmt.Fprintln(c.Err, "read escape sequence")
		return nil
	case err != nil:
		return cli.Lost(err, "%s", back)
	}

	return cli.ExitWithCode(code)
}

// backTo returns the hint that a container keeps running and how to return to it.
func backTo(name string) string {
	return fmt.Sprintf("container %[1]s keeps running; return to it with: fairlead attach %[1]s", name)
}

func (f *foreground) pipe(c *cli.CLI, s *client.Session, kill func(syscall.Signal)) (int, error) {
	stdio := client.Stdio{}
	if !f.noStdout {
		stdio.Out = c.Out
	}
	if !f.noStderr {
		stdio.Err = c.Err
	}
	if f.stdin {
		stdio.In = c.In
	}

	if in := terminal.Of(c.In); f.tty && f.stdin && in != nil {
		restore, err := in.Raw()
		if err != nil {
			return 0, fault.New(fault.Internal, "terminal", "cannot enter raw mode", fault.WithCause(err))
		}
		defer restore()
		stdio.In = &keyReader{in: c.In, scanner: detachkeys.NewScanner(f.keys)}
	}

	if out := terminal.Of(c.Out); f.tty && out != nil {
		stop := out.Watch(func(rows, columns int) { _ = s.Resize(uint32(rows), uint32(columns)) })
		defer stop()
	}
	if kill != nil && f.sigProxy {
		defer c.Interrupts.Handle(kill)()
	}

	return s.Pipe(stdio)
}

// keyReader reads typed input and returns client.ErrDetached at the detach key sequence.
type keyReader struct {
	in      io.Reader
	scanner *detachkeys.Scanner
	found   bool
}

func (r *keyReader) Read(p []byte) (int, error) {
	if r.found {
		return 0, client.ErrDetached
	}
	typed := make([]byte, len(p)/2) // leaves space for the bytes that were held back
	n, err := r.in.Read(typed)
	pass, found := r.scanner.Scan(typed[:n])
	if r.found = found; found {
		err = nil
	}
	return copy(p, pass), err
}
