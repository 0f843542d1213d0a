package session

import (
	"cmp"
	"context"
	"slices"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/users"
)

// ExecRequest requests an exec process in a running container.
type ExecRequest struct {
	Reference  string
	Args       []string
	Env        []string // in addition to the container's
	WorkingDir string   // empty means the container's
	User       string   // empty means the container's
	TTY        bool
	OpenStdin  bool
	Detach     bool
	Rows, Cols uint16
}

// Session is a connection to an exec process.
type Session interface {
	launch.Output
	Signal(sig syscall.Signal) error
	Wait(ctx context.Context) (code int, err error)
}

// Exec starts an exec process in a running container. The Session is nil if it is detached.
func (s *Sessions) Exec(ctx context.Context, req ExecRequest) (*container.Container, Session, error) {
	c, err := s.Store.FindContainer(req.Reference)
	if err != nil {
		return nil, nil, err
	}

	if err := req.validate(c); err != nil {
		return nil, nil, err
	}

	user, err := users.Resolve(s.Root(c.ID), cmp.Or(req.User, c.Process.User), c.Config.Security.Groups...)
	if err != nil {
		return nil, nil, err
	}

	security, err := container.ParseSecurityOptions(c.Subject(), c.Config.Security.Options)
	if err != nil {
		return nil, nil, err
	}

	process := spec.ExecProcess(s.Host,
		spec.Process{Args: req.Args, Env: slices.Concat(c.Process.Env, req.Env), User: user,
			WorkingDir: cmp.Or(req.WorkingDir, c.Process.WorkingDir), TTY: req.TTY, Rows: req.Rows, Cols: req.Cols,
			Security: c.Config.Security, SecurityOptions: security,
			OOMScoreAdj: c.Config.Resources.OOMScoreAdj,
			Ulimits:     container.MergeUlimits(c.Config.Resources.Ulimits, s.Defaults.Ulimits)},
		c.Live.Files.HostName)
	session, err := s.Processes.Exec(ctx,
		runtime.ExecRequest{ID: c.ID, Process: process, OpenStdin: req.OpenStdin, Detach: req.Detach})
	if err != nil {
		return nil, nil, err
	}

	emitted := s.Notices.Exec(c, req.Args, session.Wait)
	if req.Detach {
		return c, nil, nil
	}

	return c, eventSession{session, emitted}, nil
}

// eventSession is a Session whose Wait returns after the exit event was emitted.
type eventSession struct {
	Session
	emitted <-chan struct{}
}

func (e eventSession) Wait(ctx context.Context) (int, error) {
	select {
	case <-e.emitted:
		return e.Session.Wait(ctx)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (req *ExecRequest) validate(c *container.Container) error {
	switch {
	case len(req.Args) == 0 || req.Args[0] == "":
		return fault.Invalidf(c.Subject(), "command", "command is missing")
	case !c.IsRunning():
		return container.NotRunning(c.Subject(), c.ID)
	}
	return container.ValidateProcess(c.Subject(), req.Args, req.Env, req.WorkingDir)
}
