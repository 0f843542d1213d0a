package api

import (
	"context"
	"errors"
	"io"
	"syscall"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/session"
)

// RunContainer implements ContainerServiceServer.
func (s *containerServer) RunContainer(stream grpc.BidiStreamingServer[containerv1.RunContainerRequest,
	containerv1.RunContainerResponse]) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}

	opts := first.GetRun()
	if opts == nil {
		return fault.Invalidf("run", "message", "the first message must contain the options")
	}

	progress := newProgress(opts.GetSteps(), func(p *containerv1.Progress) error {
		return stream.Send(
			&containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Progress{Progress: p}})
	})

	defer progress.stop()

	req, err := requestFromProto(opts.GetConfig(), opts.GetCredentials(), progress)
	if err != nil {
		return err
	}

	req.Attach = opts.GetAttach()
	if req.Rows, req.Cols, err = sizeFromProto(opts.GetSize()); err != nil {
		return err
	}

	launched, err := s.containers.Run(stream.Context(), req)
	progress.stop()
	if err != nil {
		return err
	}

	return s.follow(stream.Context(), launched, attached{
		started: func(e *containerv1.Started) error {
			return stream.Send(
				&containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Started{Started: e}})
		},
		exited: func(e *containerv1.Exited) error {
			return stream.Send(
				&containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Exited{Exited: e}})
		},
		client: client{
			send: func(o *containerv1.Output) error {
				return stream.Send(
					&containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Output{Output: o}})
			},
			recv: func() (*containerv1.Input, error) {
				m, err := stream.Recv()
				return m.GetInput(), err
			},
		},
	})
}

// AttachContainer implements ContainerServiceServer.
func (s *containerServer) AttachContainer(stream grpc.BidiStreamingServer[containerv1.AttachContainerRequest,
	containerv1.AttachContainerResponse]) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}

	opts := first.GetAttach()
	if opts == nil {
		return fault.Invalidf("attach", "message", "the first message must contain the options")
	}

	rows, cols, err := sizeFromProto(opts.GetSize())
	if err != nil {
		return err
	}

	a := attached{
		started: func(e *containerv1.Started) error {
			return stream.Send(
				&containerv1.AttachContainerResponse{Event: &containerv1.AttachContainerResponse_Started{Started: e}})
		},
		exited: func(e *containerv1.Exited) error {
			return stream.Send(
				&containerv1.AttachContainerResponse{Event: &containerv1.AttachContainerResponse_Exited{Exited: e}})
		},
		client: client{
			send: func(o *containerv1.Output) error {
				return stream.Send(
					&containerv1.AttachContainerResponse{Event: &containerv1.AttachContainerResponse_Output{Output: o}})
			},
			recv: func() (*containerv1.Input, error) {
				m, err := stream.Recv()
				return m.GetInput(), err
			},
		},
	}

	if a.only, err = streamFromProto(opts.GetStream()); err != nil {
		return err
	}
	if opts.GetLogs() && opts.GetStart() {
		return fault.Invalidf("attach", "logs", "cannot be combined with start")
	}

	var launched *launch.Launched
	switch {
	case opts.GetStart():
		launched, err = s.containers.Start(stream.Context(), opts.GetReference(), true, rows, cols)
	case opts.GetWaitForStart():
		return s.attachBeforeStart(stream.Context(), opts, rows, cols, a)
	case opts.GetLogs():
		launched, err = s.containers.AttachWithLog(stream.Context(), opts.GetReference(), rows, cols)
	default:
		launched, err = s.containers.Attach(stream.Context(), opts.GetReference(), rows, cols)
	}
	if err != nil {
		return err
	}

	return s.follow(stream.Context(), launched, a)
}

// attachBeforeStart sends the start event when the client waits for the start of the container.
// The output of earlier runs comes first, if it is requested.
func (s *containerServer) attachBeforeStart(ctx context.Context, opts *containerv1.AttachOptions, rows, cols uint16,
	a attached) error {
	p, err := s.containers.AttachBeforeStart(ctx, opts.GetReference(), rows, cols, opts.GetLogs())
	if err != nil {
		return err
	}

	announced := a.started(&containerv1.Started{Id: p.Container.ID})
	if p.Log != nil {
		err := p.Log.Read(ctx, func(e logfile.Entry) error {
			stream := runtime.Stdout
			if e.Stream == logfile.Stderr {
				stream = runtime.Stderr
			}
			return a.output(runtime.Frame{Stream: stream, Data: e.Data})
		})
		announced = errors.Join(announced, err)
	}

	launched, err := p.Wait(ctx)
	if err := errors.Join(announced, err); err != nil {
		return err
	}

	a.started = func(*containerv1.Started) error { return nil }
	return s.follow(ctx, launched, a)
}

// attached is a client with its events besides the output.
type attached struct {
	client
	started func(*containerv1.Started) error
	exited  func(*containerv1.Exited) error
}

// follow sends the start event and, if attached, the output and the exit event. The container keeps
// running if the client disconnects.
func (s *containerServer) follow(ctx context.Context, l *launch.Launched, a attached) error {
	if l.Output != nil {
		defer func() { _ = l.Output.Close() }()
	}

	if err := a.started(&containerv1.Started{Id: l.Container.ID, Warnings: l.Warnings(ctx)}); err != nil ||
		l.Output == nil {
		return err
	}

	a.signal = func(ctx context.Context, sig syscall.Signal) error { return s.containers.Signal(ctx, l, sig) }
	if err := a.pump(ctx, l.Output); err != nil {
		if errors.Is(err, errDetached) {
			return nil
		}
		return err
	}

	exit, err := s.containers.ExitOf(ctx, l)
	if err != nil {
		return err
	}

	return a.exited(&containerv1.Exited{ExitCode: uint32(exit.Code)})
}

// ExecContainer implements ContainerServiceServer.
func (s *containerServer) ExecContainer(stream grpc.BidiStreamingServer[containerv1.ExecContainerRequest,
	containerv1.ExecContainerResponse]) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}

	opts := first.GetExec()
	if opts == nil {
		return fault.Invalidf("exec", "message", "the first message must contain the options")
	}

	start := session.StartExec{Detach: opts.GetDetach()}
	if start.Rows, start.Cols, err = sizeFromProto(opts.GetSize()); err != nil {
		return err
	}

	c, session, err := s.startExec(stream.Context(), opts, start)
	if err != nil {
		return err
	}

	started := &containerv1.ExecContainerResponse{
		Event: &containerv1.ExecContainerResponse_Started{Started: &containerv1.Started{Id: c.ID}}}
	if session == nil {
		return stream.Send(started)
	}

	defer func() { _ = session.Close() }()

	if err := stream.Send(started); err != nil {
		return err
	}

	return followExec(stream, session)
}

func followExec(stream grpc.BidiStreamingServer[containerv1.ExecContainerRequest, containerv1.ExecContainerResponse],
	session session.Session) error {
	c := client{
		send: func(o *containerv1.Output) error {
			return stream.Send(
				&containerv1.ExecContainerResponse{Event: &containerv1.ExecContainerResponse_Output{Output: o}})
		},
		recv: func() (*containerv1.Input, error) {
			m, err := stream.Recv()
			return m.GetInput(), err
		},
		signal: func(_ context.Context, sig syscall.Signal) error { return session.Signal(sig) },
	}

	if err := c.pump(stream.Context(), session); err != nil {
		if errors.Is(err, errDetached) {
			return nil
		}
		return err
	}

	code, err := session.Wait(stream.Context())
	if err != nil {
		return err
	}

	return stream.Send(&containerv1.ExecContainerResponse{Event: &containerv1.ExecContainerResponse_Exited{
		Exited: &containerv1.Exited{ExitCode: uint32(code)}}})
}
