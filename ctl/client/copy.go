package client

import (
	"context"
	"errors"
	"io"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// CopyTo unpacks an archive into a directory of a container.
func (c *Client) CopyTo(ctx context.Context, target *containerv1.CopyTarget, archive io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Files.CopyToContainer(ctx)
	if err != nil {
		return err
	}

	// A failed Send returns io.EOF and stops upload early; CloseAndRecv returns the reason.
	_ = stream.Send(&containerv1.CopyToContainerRequest{Message: &containerv1.CopyToContainerRequest_Target{
		Target: target}})
	err = upload(archive, func(chunk []byte) error {
		return stream.Send(&containerv1.CopyToContainerRequest{Message: &containerv1.CopyToContainerRequest_Data{
			Data: chunk}})
	})
	if err != nil {
		return err
	}

	_, err = stream.CloseAndRecv()
	return err
}

// CopyFrom opens the archive of a path in a container. The archive ends with ctx, which the caller
// cancels if it stops reading.
func (c *Client) CopyFrom(ctx context.Context, reference, name string) (*containerv1.FileStat, io.Reader, error) {
	stream, err := c.Files.CopyFromContainer(ctx, &containerv1.CopyFromContainerRequest{Reference: reference,
		Path: name})
	if err != nil {
		return nil, nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	if first.GetStat() == nil {
		return nil, nil, errors.New("the agent sent no attributes of the file")
	}
	return first.GetStat(), &pieces{next: func() ([]byte, error) {
		m, err := stream.Recv()
		return m.GetData(), err
	}}, nil
}

// pieces reads the messages of a stream.
type pieces struct {
	next func() ([]byte, error)
	rest []byte
}

// Read returns the rest of the last message, or the next one.
func (r *pieces) Read(p []byte) (n int, err error) {
	for len(r.rest) == 0 {
		if r.rest, err = r.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
