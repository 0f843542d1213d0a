package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/oci"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/procstat"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/terminal"
)

// ExecRequest describes an exec process.
type ExecRequest struct {
	ID        string
	Process   *specs.Process // with Terminal and ConsoleSize
	OpenStdin bool
	Detach    bool // run in the background without a terminal, and discard the output
}

// Exec runs an exec process in the namespaces and cgroup of a running container. The process has
// the container's seccomp profile. A program that does not exist or is not executable returns a
// fault with a reason, as in Create. The session of a detached process only reports its end.
func (d *Driver) Exec(ctx context.Context, req ExecRequest) (*ExecSession, error) {
	c, err := d.running(req.ID)
	if err != nil {
		return nil, err
	}

	e := &execution{d: d, c: c, req: req, spec: *req.Process}
	e.spec.Terminal = e.spec.Terminal && !req.Detach
	if e.dir, err = os.MkdirTemp(d.bundle(req.ID), "exec-"); err == nil {
		defer func() { _ = os.RemoveAll(e.dir) }()
		err = e.run(ctx)
	}

	if err == nil && !req.Detach {
		return e.session, nil
	}
	if err == nil {
		return e.detach(), nil
	}

	e.close()
	if c.ended() || c.init.isEnding(endingLimit(ctx, err)) { // which explains any error
		return nil, notRunning(req.ID)
	}
	if _, ok := errors.AsType[*fault.Fault](err); err != nil && !ok && ctx.Err() == nil {
		err = fault.New(fault.Internal, subject(req.ID), "cannot start the process", fault.WithCause(err))
	}

	return nil, err
}

// endingLimit returns the time to wait whether the end of the container caused an error of an exec.
// It is 0 if the error has another cause.
func endingLimit(ctx context.Context, err error) time.Duration {
	if fault.ReasonOf(err) != "" || ctx.Err() != nil {
		return 0
	}
	return endingTime
}

// execution is an exec that has not returned its session yet.
type execution struct {
	d       *Driver
	c       *container
	req     ExecRequest
	spec    specs.Process
	dir     string // of the files needed until the process runs
	cmd     *exec.Cmd
	session *ExecSession
	theirs  []*os.File        // the process's ends of the pipes
	console *terminal.Console // nil without a terminal
}

// run starts the runtime and waits until the process runs.
func (e *execution) run(ctx context.Context) error {
	spec, err := json.Marshal(e.spec)
	if err != nil {
		return err
	}

	if err := os.WriteFile(filepath.Join(e.dir, "process.json"), spec, 0o600); err != nil {
		return err
	}

	e.session = newSession()
	if err := e.connect(); err != nil {
		return err
	}

	err = e.cmd.Start()
	for _, f := range e.theirs {
		_ = f.Close()
	}

	if err != nil {
		return err
	}

	go e.session.reap(e.cmd)
	if err := e.started(ctx); err != nil {
		_ = e.cmd.Process.Kill()
		<-e.session.exited
		return err
	}

	if !e.req.Detach {
		e.session.begin()
	}

	return nil
}

// connect builds the command and sets its input and output.
func (e *execution) connect() error {
	args := []string{"--root", e.d.ociRoot(), "--log", filepath.Join(e.dir, runtimeLog), "--log-format", "json",
		"exec", "--process", filepath.Join(e.dir, "process.json"), "--pid-file", filepath.Join(e.dir, pidFile)}
	if e.req.Detach {
		args = append(args, "--detach")
	}

	handsOver := e.spec.Terminal && e.c.runtime.Flavor == oci.Crun
	if handsOver {
		var err error
		if e.console, err = terminal.Listen(e.dir); err != nil {
			return err
		}
		args = append(args, "--console-socket", e.console.Path())
	}

	e.cmd = exec.Command(e.c.runtime.Executable(), append(args, e.c.id)...) // no context: the session outlives the call
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	switch {
	case e.req.Detach || handsOver:
		return nil
	case e.spec.Terminal:
		return e.pty()
	}

	return e.pipes()
}

// pty sets a terminal for a runtime that relays between it and the process's own terminal. runc
// does so unless it is detached.
func (e *execution) pty() error {
	var size specs.Box
	if e.spec.ConsoleSize != nil {
		size = *e.spec.ConsoleSize
	}

	host, container, err := terminal.OpenPty(uint16(size.Height), uint16(size.Width))
	if err != nil {
		return err
	}

	e.theirs = append(e.theirs, container)
	e.session.setTerminal(host, e.req.OpenStdin)
	e.cmd.Stdin, e.cmd.Stdout, e.cmd.Stderr = container, container, container
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return nil
}

// pipes sets the input and output of a process without a terminal.
func (e *execution) pipes() error {
	s := e.session
	for _, stream := range []Stream{Stdout, Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		e.theirs = append(e.theirs, w)
		s.outputs = append(s.outputs, output{r, stream})
	}

	e.cmd.Stdout, e.cmd.Stderr = e.theirs[0], e.theirs[1]
	if !e.req.OpenStdin {
		return nil
	}

	r, w, err := os.Pipe()
	if err != nil {
		return err
	}

	e.theirs = append(e.theirs, r)
	e.cmd.Stdin, s.input = r, w
	return nil
}

// started waits for the process's ID or for the runtime's exit without one. The runtime writes the
// ID when only the execution of the program remains.
func (e *execution) started(ctx context.Context) error {
	if e.console != nil {
		terminal, err := e.console.Accept(ctx, e.session.exited)
		if err == nil {
			e.session.setTerminal(terminal, e.req.OpenStdin)
		} else if ctx.Err() != nil {
			return ctx.Err()
		}
	}

	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		pid, err := procstat.ReadPID(filepath.Join(e.dir, pidFile))
		if err == nil {
			e.session.process, _ = openProcess(pid) // nil if it has already ended
			return nil
		}
		select {
		case <-e.session.exited:
			return e.afterEnd()
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// afterEnd distinguishes a process that has already ended from one that was never started.
func (e *execution) afterEnd() error {
	if pid, err := procstat.ReadPID(filepath.Join(e.dir, pidFile)); err == nil {
		if e.req.Detach { // otherwise it ended with the runtime
			e.session.process, _ = openProcess(pid)
		}
		return nil
	}
	output := fmt.Sprintf("exit status %d", e.session.code)
	log := oci.ReadLog(filepath.Join(e.dir, runtimeLog))
	return oci.StartFault(subject(e.c.id), &e.spec, oci.Message(log, output))
}

// detach returns a session that only reports the end of a detached process.
func (e *execution) detach() *ExecSession {
	s := newSession()
	s.process, e.session.process = e.session.process, nil
	close(s.frames)
	go s.awaitDetached()
	e.close()
	return s
}

// close releases the resources of an exec whose output no session reads.
func (e *execution) close() {
	if e.console != nil {
		e.console.Close()
	}
	for _, f := range e.theirs {
		_ = f.Close()
	}
	if e.session != nil {
		e.session.release()
	}
}
