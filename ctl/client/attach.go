package client

import (
	"context"
	"io"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// OnProgress receives each launch step and each progress message of an image layer. Nil ignores
// them.
type OnProgress func(*containerv1.Progress)

func (f OnProgress) report(p *containerv1.Progress) {
	if f != nil && p != nil {
		f(p)
	}
}

// Run creates and starts a container and attaches to it in one call. It returns when the process
// runs and sets opts.Attach. The session ends with ctx; the container does not.
func (c *Client) Run(ctx context.Context, opts *containerv1.RunOptions, progress OnProgress) (*Session, error) {
	opts.Attach = true
	ctx, cancel := context.WithCancel(ctx)
	s, err := c.run(ctx, cancel, opts, progress)
	if err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// RunDetached creates and starts a container and returns its ID and warnings. It clears
// opts.Attach.
func (c *Client) RunDetached(ctx context.Context, opts *containerv1.RunOptions,
	progress OnProgress) (*containerv1.Started, error) {
	opts.Attach = false
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.run(ctx, cancel, opts, progress)
	if err != nil {
		return nil, err
	}
	s.drain()
	return &containerv1.Started{Id: s.ID, Warnings: s.Warnings}, nil
}

func (c *Client) run(ctx context.Context, cancel context.CancelFunc, opts *containerv1.RunOptions,
	progress OnProgress) (*Session, error) {
	stream, err := c.Containers.RunContainer(ctx)
	if err != nil {
		return nil, err
	}

	s := &Session{cancel: cancel}
	s.send = func(in *containerv1.Input) error {
		return stream.Send(&containerv1.RunContainerRequest{Message: &containerv1.RunContainerRequest_Input{Input: in}})
	}
	s.recv = func() (response, error) {
		a, err := stream.Recv()
		progress.report(a.GetProgress())
		return a, err
	}
	// A failed first Send returns io.EOF; Recv returns the reason.
	_ = stream.Send(&containerv1.RunContainerRequest{Message: &containerv1.RunContainerRequest_Run{Run: opts}})
	return s, s.start()
}

// Attach connects to the process of a container and starts it first if opts.Start is set. It
// returns when the connection is established.
func (c *Client) Attach(ctx context.Context, opts *containerv1.AttachOptions) (*Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.Containers.AttachContainer(ctx)
	if err != nil {
		cancel()
		return nil, err
	}

	s := &Session{cancel: cancel, recv: func() (response, error) { return stream.Recv() }}
	s.send = func(in *containerv1.Input) error {
		return stream.Send(&containerv1.AttachContainerRequest{
			Message: &containerv1.AttachContainerRequest_Input{Input: in},
		})
	}
	_ = stream.Send(&containerv1.AttachContainerRequest{
		Message: &containerv1.AttachContainerRequest_Attach{Attach: opts},
	})
	if err := s.start(); err != nil {
		cancel()
		return nil, err
	}

	return s, nil
}

// Exec runs a command in a running container and returns when the process runs. With opts.Detach
// the session has no output and must be closed.
func (c *Client) Exec(ctx context.Context, opts *containerv1.ExecOptions) (*Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.Containers.ExecContainer(ctx)
	if err != nil {
		cancel()
		return nil, err
	}

	s := &Session{cancel: cancel, recv: func() (response, error) { return stream.Recv() }}
	s.send = func(in *containerv1.Input) error {
		return stream.Send(&containerv1.ExecContainerRequest{
			Message: &containerv1.ExecContainerRequest_Input{Input: in},
		})
	}
	_ = stream.Send(&containerv1.ExecContainerRequest{Message: &containerv1.ExecContainerRequest_Exec{Exec: opts}})
	if err := s.start(); err != nil {
		cancel()
		return nil, err
	}
	if opts.GetDetach() {
		s.drain()
	}

	return s, nil
}

// start waits until the process runs.
func (s *Session) start() error {
	for {
		a, err := s.recv()
		if err == io.EOF {
			return errNoResponse()
		}
		if err != nil {
			return err
		}
		if st := a.GetStarted(); st != nil {
			s.ID, s.Warnings = st.GetId(), st.GetWarnings()
			return nil
		}
	}
}
