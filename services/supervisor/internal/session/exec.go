package session

import (
	"cmp"
	"context"
	"slices"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
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
	Privileged bool // with all capabilities of the agent
	Rows, Cols uint16

	// What the client that starts the exec gets to know: its keys and streams.
	DetachKeys string
	Attach     []string
}

// Session is a connection to an exec process.
type Session interface {
	launch.Output
	Signal(sig syscall.Signal) error
	PID() int    // 0 if it ended too early
	Kill() error // kills the process and its process group
	Wait(ctx context.Context) (code int, err error)
}

// Exec starts an exec process in a running container. The Session is nil if it is detached.
func (s *Sessions) Exec(ctx context.Context, req ExecRequest) (*container.Container, Session, error) {
	_, uid, err := s.create(req)
	if err != nil {
		return nil, nil, err
	}
	return s.StartExec(ctx, uid, StartExec{Detach: req.Detach, Rows: req.Rows, Cols: req.Cols, announce: true})
}

// process starts the process of an exec.
func (s *Sessions) process(ctx context.Context, c *container.Container, req *ExecRequest) (Session, error) {
	user, err := users.Resolve(s.Root(c.ID), cmp.Or(req.User, c.Process.User), c.Config.Security.Groups...)
	if err != nil {
		return nil, err
	}

	security, err := container.ParseSecurityOptions(c.Subject(), c.Config.Security.Options)
	if err != nil {
		return nil, err
	}

	privileges := c.Config.Security
	privileges.Privileged = privileges.Privileged || req.Privileged
	if err := s.Policies.CheckPrivileges(cmp.Or(c.Live.SharedWith, c.ID), c.Config.Name, &privileges); err != nil {
		return nil, err
	}
	process := spec.ExecProcess(s.Host,
		spec.Process{Args: req.Args, Env: slices.Concat(c.Process.Env, req.Env), User: user,
			WorkingDir: cmp.Or(req.WorkingDir, c.Process.WorkingDir), TTY: req.TTY, Rows: req.Rows, Cols: req.Cols,
			Security: privileges, SecurityOptions: security,
			OOMScoreAdj: c.Config.Resources.OOMScoreAdj,
			Ulimits:     resource.MergeUlimits(c.Config.Resources.Ulimits, s.Defaults.Ulimits)},
		c.Live.Files.HostName)
	return s.Processes.Exec(ctx,
		runtime.ExecRequest{ID: c.ID, Process: process, OpenStdin: req.OpenStdin, Detach: req.Detach})
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
	case c.IsPaused():
		return fault.New(fault.Busy, c.Subject(),
			"Container "+c.ID+" is paused, unpause the container before exec")
	case c.Status == container.Restarting:
		return fault.New(fault.Busy, c.Subject(),
			"Container "+c.ID+" is restarting, wait until the container is running")
	case !c.IsRunning():
		return container.NotRunning(c.Subject(), c.ID)
	}
	return container.ValidateProcess(c.Subject(), req.Args, req.Env, req.WorkingDir)
}
