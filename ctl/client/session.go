package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// ErrDetached is what Pipe gives when the client left a process that runs on. A reader for Stdio.In may return it to ask for
// just that.
var ErrDetached = errors.New("detached from the process")

// Stdio is what a process is joined to. A nil In sends nothing, and the process waits for input that does not come: close it with
// an empty reader. A nil Out or Err drops what is written there.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// answer is what the answers of the three attached calls have in common.
type answer interface {
	GetStarted() *containerv1.Started
	GetOutput() *containerv1.Output
	GetExited() *containerv1.Exited
}

// Session is a process in a container that this client is attached to. End it with Pipe, or with Close.
type Session struct {
	// ID is the container's id.
	ID string
	// Warnings are what the user should know, one line each.
	Warnings []string

	recv     func() (answer, error)
	cancel   context.CancelFunc
	detached atomic.Bool

	sending sync.Mutex // a gRPC stream takes one sender at a time
	send    func(*containerv1.Input) error
}

const (
	// detachTimeout is how long the agent has to end the call after the client has said that it leaves, or the process has ended.
	detachTimeout = 2 * time.Second
	// maxInput is half of what one message may carry.
	maxInput = 32 << 10
)

// Pipe joins the process to stdio until it ends, and gives its exit code. It is called once. A reader that blocks is left behind
// in its own goroutine until its Read returns.
func (s *Session) Pipe(stdio Stdio) (exitCode int, err error) {
	defer s.cancel()
	if stdio.In != nil {
		go s.input(stdio.In)
	}
	for {
		a, err := s.recv()
		if err != nil {
			return 0, s.ended(err)
		}
		if err := write(stdio, a.GetOutput()); err != nil {
			return 0, err
		}
		if e := a.GetExited(); e != nil {
			s.drain()
			return int(e.GetExitCode()), nil
		}
	}
}

// ended says why there are no more answers.
func (s *Session) ended(err error) error {
	switch {
	case s.detached.Load():
		return ErrDetached
	case err == io.EOF:
		return fault.New(fault.Unavailable, "container "+s.ID, "the agent ended the call before the process ended")
	}
	return err
}

// drain waits for the end of a call of which nothing more is to come, so that the agent sees it end well.
func (s *Session) drain() {
	stop := time.AfterFunc(detachTimeout, s.cancel)
	defer stop.Stop()
	for {
		if _, err := s.recv(); err != nil {
			return
		}
	}
}

func write(stdio Stdio, o *containerv1.Output) error {
	w := stdio.Out
	if o.GetStream() == containerv1.StreamKind_STREAM_KIND_STDERR {
		w = stdio.Err
	}
	if o == nil || w == nil {
		return nil
	}
	_, err := w.Write(o.GetData())
	return err
}

// input carries what is typed. Errors of sending are dropped, as the receiving side has the reason.
func (s *Session) input(in io.Reader) {
	buf := make([]byte, maxInput)
	for {
		n, err := in.Read(buf)
		if n > 0 && s.Send(&containerv1.Input{Event: &containerv1.Input_Stdin{Stdin: buf[:n]}}) != nil {
			return
		}
		if errors.Is(err, ErrDetached) {
			_ = s.Detach()
			return
		}
		if err != nil {
			_ = s.Send(&containerv1.Input{Event: &containerv1.Input_StdinClosed{StdinClosed: true}})
			return
		}
	}
}

// Send sends one input event. It blocks while the process takes no input and much of it is under way.
func (s *Session) Send(in *containerv1.Input) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.send(in)
}

// Resize gives the process's terminal a new size.
func (s *Session) Resize(rows, columns uint32) error {
	size := &containerv1.TerminalSize{Rows: rows, Columns: columns}
	return s.Send(&containerv1.Input{Event: &containerv1.Input_Resize{Resize: size}})
}

// Signal sends the process a signal, by name or number. It waits behind input that the process has not taken; for a container's
// first process, Containers.KillContainer does not.
func (s *Session) Signal(signal string) error {
	return s.Send(&containerv1.Input{Event: &containerv1.Input_Signal{Signal: signal}})
}

// Detach leaves the process, which runs on. Pipe then gives ErrDetached.
func (s *Session) Detach() error {
	s.detached.Store(true)
	time.AfterFunc(detachTimeout, s.cancel)
	return s.Send(&containerv1.Input{Event: &containerv1.Input_Detach{Detach: true}})
}

// Close ends the session where it stands. A container runs on; a process of Exec is ended.
func (s *Session) Close() { s.cancel() }
