package run

import (
	"cmp"
	"context"
	"slices"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/users"
)

// ExecRequest asks for one more process in a running container.
type ExecRequest struct {
	Reference  string
	Args       []string
	Env        []string // beside the container's
	WorkingDir string   // empty means the container's
	User       string   // empty means the container's
	TTY        bool
	OpenStdin  bool
	Detach     bool
	Rows, Cols uint16
}

// Session is an exec's process.
type Session interface {
	Output
	Signal(sig syscall.Signal) error
	Wait(ctx context.Context) (code int, err error)
}

// Exec runs one more process in a running container. A detached one has no session.
func (r *Runner) Exec(ctx context.Context, req ExecRequest) (*container.Container, Session, error) {
	c, err := r.Store.FindContainer(req.Reference)
	if err != nil {
		return nil, nil, err
	}
	if err := req.validate(c); err != nil {
		return nil, nil, err
	}
	who, err := users.Resolve(r.RootFS.Path(c.ID), cmp.Or(req.User, c.Process.User))
	if err != nil {
		return nil, nil, err
	}
	process := spec.ExecProcess(r.Host, spec.Process{Args: req.Args, Env: slices.Concat(c.Process.Env, req.Env), User: who,
		WorkingDir: cmp.Or(req.WorkingDir, c.Process.WorkingDir), TTY: req.TTY, Rows: req.Rows, Cols: req.Cols}, c.Live.Files.HostName)
	session, err := r.Processes.Exec(ctx, runtime.ExecRequest{ID: c.ID, Process: process, OpenStdin: req.OpenStdin, Detach: req.Detach})
	if err != nil {
		return nil, nil, err
	}
	told := r.tellExec(c, req.Args, session)
	if req.Detach {
		return c, nil, nil
	}
	return c, eventSession{session, told}, nil
}

// eventSession is a session of whose end is told before it is answered.
type eventSession struct {
	Session
	told <-chan struct{}
}

func (s eventSession) Wait(ctx context.Context) (int, error) {
	select {
	case <-s.told:
		return s.Session.Wait(ctx)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (req *ExecRequest) validate(c *container.Container) error {
	switch {
	case len(req.Args) == 0 || req.Args[0] == "":
		return fault.Invalidf(c.Subject(), "command", "no command is given to run in it")
	case !c.IsRunning():
		return notRunning(c.Subject(), c.ID)
	}
	return container.ValidateProcess(c.Subject(), req.Args, req.Env, req.WorkingDir)
}
