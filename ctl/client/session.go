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

// ErrDetached is returned by Session.Pipe if the client detached from a running process. A reader
// in Stdio.In can return it to detach.
var ErrDetached = errors.New("detached from the process")

// Stdio holds the streams that a session copies. With a nil In, standard input stays open without
// data; an empty reader closes it. A nil Out or Err discards the output.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// response is implemented by the responses of the three attached calls.
type response interface {
	GetStarted() *containerv1.Started
	GetOutput() *containerv1.Output
	GetExited() *containerv1.Exited
}

// Session is a connection to a process in a container. Pipe or Close must be called.
type Session struct {
	// ID is the container's ID.
	ID string
	// Warnings are messages for the user, one line each.
	Warnings []string

	recv     func() (response, error)
	cancel   context.CancelFunc
	detached atomic.Bool

	sending sync.Mutex // serializes send, as gRPC requires
	send    func(*containerv1.Input) error
}

const (
	// detachTimeout limits how long the agent can keep the call open after a detach or after the
	// process exited.
	detachTimeout = 2 * time.Second
	// maxInput is half of the size limit of one message.
	maxInput = 32 << 10
)

// Pipe copies the streams until the process exits and returns its exit code. It must be called
// once. A blocked reader stays in its own goroutine until its Read returns.
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

// ended returns the reason why the stream ended.
func (s *Session) ended(err error) error {
	switch {
	case s.detached.Load():
		return ErrDetached
	case err == io.EOF:
		return fault.New(fault.Unavailable, "container "+s.ID, "the agent ended the call before the process ended")
	}
	return err
}

// drain reads the rest of a finished call, so that the agent sees it complete.
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

// input sends what is read from in. Errors of sending are dropped; Recv returns the reason.
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

// Send sends one input event. It blocks while the process does not read its input.
func (s *Session) Send(in *containerv1.Input) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.send(in)
}

// Resize sets the size of the process's terminal.
func (s *Session) Resize(rows, columns uint32) error {
	size := &containerv1.TerminalSize{Rows: rows, Columns: columns}
	return s.Send(&containerv1.Input{Event: &containerv1.Input_Resize{Resize: size}})
}

// Signal sends a signal, by name or number, to the process. It is queued behind unread input;
// Containers.KillContainer is not.
func (s *Session) Signal(signal string) error {
	return s.Send(&containerv1.Input{Event: &containerv1.Input_Signal{Signal: signal}})
}

// Detach detaches from the process, which keeps running. Pipe then returns ErrDetached.
func (s *Session) Detach() error {
	s.detached.Store(true)
	time.AfterFunc(detachTimeout, s.cancel)
	return s.Send(&containerv1.Input{Event: &containerv1.Input_Detach{Detach: true}})
}

// Close ends the session. A container keeps running; a process of Exec is killed.
func (s *Session) Close() { s.cancel() }
