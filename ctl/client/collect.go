package client

import (
	"context"
	"errors"
	"io"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Create creates a container without starting it.
func (c *Client) Create(ctx context.Context, req *containerv1.CreateContainerRequest,
	progress OnProgress) (*containerv1.Created, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Containers.CreateContainer(ctx, req)
	if err != nil {
		return nil, err
	}

	return last(stream.Recv, progress, (*containerv1.CreateContainerResponse).GetCreated)
}

// Pull pulls an image from its registry.
func (c *Client) Pull(ctx context.Context, req *containerv1.PullImageRequest,
	progress OnProgress) (*containerv1.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.PullImage(ctx, req)
	if err != nil {
		return nil, err
	}

	return last(stream.Recv, progress, (*containerv1.PullImageResponse).GetImage)
}

// last reports the progress of a call and returns its result, which get returns of a response.
func last[R interface{ GetProgress() *containerv1.Progress }, T any](
	receive func() (R, error), progress OnProgress, get func(R) *T,
) (result *T, err error) {
	for {
		a, err := receive()
		switch {
		case err == io.EOF && result == nil:
			return nil, errNoResponse()
		case err == io.EOF:
			return result, nil
		case err != nil:
			return nil, err
		}
		progress.report(a.GetProgress())
		if got := get(a); got != nil {
			result = got
		}
	}
}

func errNoResponse() error {
	return fault.New(fault.Internal, "agent", "closed the call without a response")
}

// Save writes the archive of images.
func (c *Client) Save(ctx context.Context, req *containerv1.SaveImagesRequest, archive io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.SaveImages(ctx, req)
	if err != nil {
		return err
	}

	for {
		a, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			if _, err = archive.Write(a.GetData()); err != nil {
				err = fault.New(fault.Invalid, "archive", "cannot be written", fault.WithCause(err))
			}
		}
		if err != nil {
			return err
		}
	}
}

// Push pushes an image to its registry and calls pushed for each tag.
func (c *Client) Push(ctx context.Context, req *containerv1.PushImageRequest, progress OnProgress,
	pushed func(*containerv1.PushedImage)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.PushImage(ctx, req)
	if err != nil {
		return err
	}

	for {
		a, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		progress.report(a.GetProgress())
		if a.GetPushed() != nil {
			pushed(a.GetPushed())
		}
	}
}

// Load loads the images of an archive of `docker save` or of an OCI layout and returns them in the
// order of the archive. Without a platform it loads all.
func (c *Client) Load(ctx context.Context, archive io.Reader, platform string) ([]*containerv1.Image, error) {
	return c.LoadReporting(ctx, archive, platform, nil)
}

// LoadReporting is like Load, and reports the progress of each layer.
func (c *Client) LoadReporting(ctx context.Context, archive io.Reader, platform string,
	progress OnProgress) ([]*containerv1.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.LoadImage(ctx)
	if err != nil {
		return nil, err
	}

	// A failed Send returns io.EOF and stops upload early; Recv returns the reason. The archive is sent
	// concurrently, so that progress does not block the agent.
	sent := make(chan error, 1)
	go func() {
		if platform != "" {
			_ = stream.Send(&containerv1.LoadImageRequest{Platform: platform})
		}
		err := upload(archive, func(chunk []byte) error {
			return stream.Send(&containerv1.LoadImageRequest{Data: chunk})
		})
		sent <- err
		if err != nil {
			cancel()
			return
		}
		_ = stream.CloseSend()
	}()

	for {
		m, err := stream.Recv()
		if err != nil {
			return nil, loadError(err, sent)
		}
		if m.GetProgress() == nil {
			return m.GetImages(), nil
		}
		progress.report(m.GetProgress())
	}
}

// loadError returns the error of reading the archive, if there is one, or else that of the agent.
func loadError(err error, sent <-chan error) error {
	select {
	case serr := <-sent:
		if serr != nil {
			return serr
		}
	default: // the archive is not read to its end
	}
	if err == io.EOF {
		return errNoResponse()
	}
	return err
}

// Import creates an image with one layer from a root file system in a tar archive.
func (c *Client) Import(ctx context.Context, opts *containerv1.ImportOptions, archive io.Reader) (*containerv1.Image,
	error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.ImportImage(ctx)
	if err != nil {
		return nil, err
	}

	// A failed Send returns io.EOF and stops upload early; CloseAndRecv returns the reason.
	_ = stream.Send(&containerv1.ImportImageRequest{Message: &containerv1.ImportImageRequest_Options{Options: opts}})
	err = upload(archive, func(chunk []byte) error {
		return stream.Send(&containerv1.ImportImageRequest{Message: &containerv1.ImportImageRequest_Data{Data: chunk}})
	})
	if err != nil {
		return nil, err
	}

	res, err := stream.CloseAndRecv()
	return res.GetImage(), err
}

// maxChunk is the size limit of one message of an archive. A message fits gRPC's buffers of 1 MB.
const maxChunk = 1<<20 - 1<<10

// upload sends the content of a reader in chunks. It returns nil if the agent closes the stream
// early; the caller receives the reason.
func upload(r io.Reader, send func([]byte) error) error {
	buf := make([]byte, maxChunk)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if send(buf[:n]) != nil {
				return nil
			}
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fault.New(fault.Invalid, "archive", "cannot be read", fault.WithCause(err))
		}
	}
}
