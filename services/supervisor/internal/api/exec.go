package api

import (
	"context"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/session"
)

// CreateExec implements ContainerServiceServer.
func (s *containerServer) CreateExec(_ context.Context,
	req *containerv1.CreateExecRequest) (*containerv1.CreateExecResponse, error) {
	exec := execFromProto(req.GetExec())
	if req.GetExec().GetSize() != nil {
		var err error
		if exec.Rows, exec.Cols, err = sizeFromProto(req.GetExec().GetSize()); err != nil {
			return nil, err
		}
	}
	uid, err := s.containers.CreateExec(exec)
	return &containerv1.CreateExecResponse{ExecId: uid}, err
}

// GetExec implements ContainerServiceServer.
func (s *containerServer) GetExec(_ context.Context,
	req *containerv1.GetExecRequest) (*containerv1.GetExecResponse, error) {
	state, err := s.containers.ExecState(req.GetExecId())
	if err != nil {
		return nil, err
	}
	return &containerv1.GetExecResponse{Exec: execToProto(state)}, nil
}

// ResizeExec implements ContainerServiceServer.
func (s *containerServer) ResizeExec(ctx context.Context,
	req *containerv1.ResizeExecRequest) (*containerv1.ResizeExecResponse, error) {
	rows, cols, err := sizeFromProto(req.GetSize())
	if err != nil {
		return nil, err
	}
	return &containerv1.ResizeExecResponse{}, s.containers.ResizeExec(ctx, req.GetExecId(), rows, cols)
}

// ResizeContainer implements ContainerServiceServer.
func (s *containerServer) ResizeContainer(ctx context.Context,
	req *containerv1.ResizeContainerRequest) (*containerv1.ResizeContainerResponse, error) {
	rows, cols, err := sizeFromProto(req.GetSize())
	if err != nil {
		return nil, err
	}
	return &containerv1.ResizeContainerResponse{}, s.containers.Resize(ctx, req.GetReference(), rows, cols)
}

// startExec starts the exec of an ID, or else the one that the options describe.
func (s *containerServer) startExec(ctx context.Context, opts *containerv1.ExecOptions,
	start session.StartExec) (*container.Container, session.Session, error) {
	if opts.GetExecId() != "" {
		return s.containers.StartExec(ctx, opts.GetExecId(), start)
	}
	req := execFromProto(opts)
	req.Detach, req.Rows, req.Cols = start.Detach, start.Rows, start.Cols
	return s.containers.Exec(ctx, req)
}

func execFromProto(in *containerv1.ExecOptions) session.ExecRequest {
	return session.ExecRequest{Reference: in.GetReference(), Args: in.GetArgs(), Env: in.GetEnv(),
		WorkingDir: in.GetWorkingDir(), User: in.GetUser(), TTY: in.GetTty(), OpenStdin: in.GetOpenStdin(),
		Privileged: in.GetPrivileged(), DetachKeys: in.GetDetachKeys(), Attach: in.GetAttach()}
}

func execToProto(e session.ExecState) *containerv1.Exec {
	r := e.Request
	out := &containerv1.Exec{Id: e.ID, ContainerId: e.Container, Running: e.Running, Pid: uint32(e.PID),
		Options: &containerv1.ExecOptions{Reference: e.Container, Args: r.Args, Env: r.Env, WorkingDir: r.WorkingDir,
			User: r.User, Tty: r.TTY, OpenStdin: r.OpenStdin, Privileged: r.Privileged,
			DetachKeys: r.DetachKeys, Attach: r.Attach}}
	if r.Rows > 0 {
		out.Options.Size = &containerv1.TerminalSize{Rows: uint32(r.Rows), Columns: uint32(r.Cols)}
	}
	if e.ExitCode != nil {
		code := uint32(*e.ExitCode)
		out.ExitCode = &code
	}
	return out
}
