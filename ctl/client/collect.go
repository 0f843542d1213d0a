package client

import (
	"context"
	"errors"
	"io"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Create makes a container without starting it.
func (c *Client) Create(ctx context.Context, req *containerv1.CreateContainerRequest, progress OnProgress) (*containerv1.Created, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Containers.CreateContainer(ctx, req)
	if err != nil {
		return nil, err
	}
	var created *containerv1.Created
	for a, err := stream.Recv(); err != io.EOF; a, err = stream.Recv() {
		if err != nil {
			return nil, err
		}
		progress.tell(a.GetProgress())
		if a.GetCreated() != nil {
			created = a.GetCreated()
		}
	}
	if created == nil {
		return nil, noAnswer()
	}
	return created, nil
}

// Pull fetches an image from its registry.
func (c *Client) Pull(ctx context.Context, req *containerv1.PullImageRequest, progress OnProgress) (*containerv1.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.PullImage(ctx, req)
	if err != nil {
		return nil, err
	}
	var image *containerv1.Image
	for a, err := stream.Recv(); err != io.EOF; a, err = stream.Recv() {
		if err != nil {
			return nil, err
		}
		progress.tell(a.GetProgress())
		if a.GetImage() != nil {
			image = a.GetImage()
		}
	}
	if image == nil {
		return nil, noAnswer()
	}
	return image, nil
}

func noAnswer() error {
	return fault.New(fault.Internal, "agent", "it ended the call without an answer")
}

// Load stores the images of an archive, as `docker save` writes it or of an OCI layout, and answers them in its order.
func (c *Client) Load(ctx context.Context, archive io.Reader) ([]*containerv1.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.LoadImage(ctx)
	if err != nil {
		return nil, err
	}
	err = upload(archive, func(piece []byte) error {
		return stream.Send(&containerv1.LoadImageRequest{Data: piece})
	})
	if err != nil {
		return nil, err
	}
	res, err := stream.CloseAndRecv()
	return res.GetImages(), err
}

// Import makes a one-layer image of a root file system in a tar archive.
func (c *Client) Import(ctx context.Context, opts *containerv1.ImportOptions, archive io.Reader) (*containerv1.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.ImportImage(ctx)
	if err != nil {
		return nil, err
	}
	// A failed Send is io.EOF, for which upload stops early; the reason is what CloseAndRecv says.
	_ = stream.Send(&containerv1.ImportImageRequest{Message: &containerv1.ImportImageRequest_Options{Options: opts}})
	err = upload(archive, func(piece []byte) error {
		return stream.Send(&containerv1.ImportImageRequest{Message: &containerv1.ImportImageRequest_Data{Data: piece}})
	})
	if err != nil {
		return nil, err
	}
	res, err := stream.CloseAndRecv()
	return res.GetImage(), err
}

// maxPiece is what one message of an archive carries at most.
const maxPiece = 1 << 20

// upload sends a reader's content in pieces. An agent that hangs up early has its reason, which is not upload's to tell.
func upload(r io.Reader, send func([]byte) error) error {
	buf := make([]byte, maxPiece)
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
