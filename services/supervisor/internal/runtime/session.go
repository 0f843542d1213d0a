package runtime

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// ExecSession is a process that Exec started. Its methods may be called concurrently, but only one
// Read at a time.
type ExecSession struct {
	outputs  []output
	input    *os.File // nil if stdin is not open
	terminal *os.File
	process  *process // nil if it ended before it could be opened

	frames      chan Frame
	closed      chan struct{}
	once        sync.Once
	exited      chan struct{} // closed when the runtime (detached: the process) has ended
	code        int           // readable once exited is closed
	exitUnknown bool          // the exit code is not known; readable as code
}

type output struct {
	f      *os.File
	stream Stream
}

func newSession() *ExecSession {
	return &ExecSession{frames: make(chan Frame), closed: make(chan struct{}), exited: make(chan struct{})}
}

func (s *ExecSession) setTerminal(f *os.File, openStdin bool) {
	s.terminal, s.outputs = f, []output{{f, Stdout}}
	if openStdin {
		s.input = f
	}
}

// reap waits for the runtime, which exits with the process's exit code.
func (s *ExecSession) reap(cmd *exec.Cmd) {
	err := cmd.Wait()
	s.code = cmd.ProcessState.ExitCode()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		s.code = 128 + int(status.Signal())
	}
	if err != nil && s.code < 0 {
		s.code = unknownCode
	}
	close(s.exited)
}

// linger limits the wait for output after the process's end. Its descendants can hold the pipe or
// terminal open.
const linger = 100 * time.Millisecond

// begin starts reading the output. The session's files are closed when the process has ended and
// all output was read, or discarded after Close.
func (s *ExecSession) begin() {
	var wg sync.WaitGroup
	for _, o := range s.outputs {
		wg.Go(func() { s.pump(o) })
	}

	go func() {
		<-s.exited
		for _, o := range s.outputs {
			_ = o.f.SetReadDeadline(time.Now().Add(linger))
		}
		wg.Wait()
		close(s.frames)
		s.release()
	}()
}

// release closes all files.
func (s *ExecSession) release() {
	if s.process != nil {
		s.process.close()
	}
	if s.input != nil {
		_ = s.input.Close()
	}
	for _, o := range s.outputs {
		_ = o.f.Close()
	}
}

const frameSize = 32 << 10

// pump reads one output until it ends, or until it is drained after the process's end. After Close
// it discards the output, so that the process does not block or receive SIGPIPE or SIGHUP when its
// client disconnects.
func (s *ExecSession) pump(o output) {
	for {
		buf := make([]byte, frameSize)
		n, err := o.f.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			n = readNow(o.f, buf)
		}
		if n <= 0 && err != nil {
			return
		}
		select {
		case s.frames <- Frame{o.stream, buf[:n]}:
		case <-s.closed:
		}
	}
}

// readNow reads available data without waiting.
func readNow(f *os.File, buf []byte) int {
	n := 0
	conn, err := f.SyscallConn()
	if err == nil {
		_ = conn.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buf) })
	}
	return n
}

// Read waits for output. It returns io.EOF when all output was read and os.ErrClosed after Close.
func (s *ExecSession) Read() (Frame, error) {
	select {
	case f, ok := <-s.frames:
		if !ok {
			return Frame{}, io.EOF
		}
		return f, nil
	case <-s.closed:
		return Frame{}, os.ErrClosed
	}
}

// Write sends input. It blocks while the process does not read.
func (s *ExecSession) Write(p []byte) (int, error) {
	if s.input == nil {
		return 0, fault.New(fault.Busy, "exec", "stdin is not open", fault.WithHint("run it with -i"))
	}
	return s.input.Write(p)
}

// CloseStdin signals the end of input. It does nothing for a terminal.
func (s *ExecSession) CloseStdin() error {
	if s.input == nil || s.input == s.terminal {
		return nil
	}
	return s.input.Close()
}

// Resize sets the terminal's size.
func (s *ExecSession) Resize(rows, cols uint16) error {
	if s.terminal == nil {
		return fault.New(fault.Busy, "exec", "has no terminal", fault.WithHint("run it with -t"))
	}

	conn, err := s.terminal.SyscallConn()
	if err != nil {
		return err
	}

	var ierr error
	err = conn.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	return errors.Join(err, ierr)
}

// PID returns the process's ID on the host, 0 if it ended too early.
func (s *ExecSession) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.pid
}

// Signal sends a signal to the process.
func (s *ExecSession) Signal(sig syscall.Signal) error {
	if s.process == nil || errors.Is(s.process.signal(sig), os.ErrProcessDone) {
		return fault.New(fault.Busy, "exec", "the process has ended")
	}
	return nil
}

// Kill kills the process and its process group, which is not the agent's: the OCI runtime creates a
// session for an exec process.
func (s *ExecSession) Kill() error {
	if s.process == nil || !s.process.alive() {
		return nil
	}
	var errs []error
	group, err := unix.Getpgid(s.process.pid)
	if err == nil && group > 1 && group != unix.Getpgrp() {
		if err := unix.Kill(-group, syscall.SIGKILL); !errors.Is(err, unix.ESRCH) {
			errs = append(errs, err)
		}
	}
	if err := s.process.signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ErrExitUnknown means that a process has ended with an unknown exit code. See ExecSession.Wait.
var ErrExitUnknown = errors.New("the exit status of the process is unknown")

// Wait waits for the process and returns its exit code. The kernel reports that of a detached
// process since Linux 6.15. Wait returns ErrExitUnknown on older kernels and for a process that
// ended too early.
func (s *ExecSession) Wait(ctx context.Context) (int, error) {
	select {
	case <-s.exited:
		if s.exitUnknown {
			return s.code, ErrExitUnknown
		}
		return s.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Close disconnects the session. The process keeps running: its output is discarded, and its input
// ends unless it is a terminal.
func (s *ExecSession) Close() error {
	s.once.Do(func() {
		close(s.closed)
		switch {
		case s.input == nil:
		case s.input == s.terminal:
			_ = s.input.SetWriteDeadline(time.Unix(1, 0)) // interrupts Write
		default:
			_ = s.input.Close()
		}
	})
	return nil
}
