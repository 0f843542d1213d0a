package client

import (
	"context"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// ListContainers returns containers, newest first. With all it includes stopped containers.
func (c *Client) ListContainers(ctx context.Context, all bool) ([]*containerv1.Container, error) {
	var out []*containerv1.Container
	for req := (&containerv1.ListContainersRequest{All: all}); ; {
		res, err := c.Containers.ListContainers(ctx, req)
		if err != nil {
			return nil, err
		}
		out = append(out, res.GetContainers()...)
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			return out, nil
		}
	}
}

// ListImages returns all images, newest first.
func (c *Client) ListImages(ctx context.Context) ([]*containerv1.Image, error) {
	var out []*containerv1.Image
	for req := (&containerv1.ListImagesRequest{}); ; {
		res, err := c.Images.ListImages(ctx, req)
		if err != nil {
			return nil, err
		}
		out = append(out, res.GetImages()...)
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			return out, nil
		}
	}
}

// ListVolumes returns all volumes, sorted by name. With size it measures each one.
func (c *Client) ListVolumes(ctx context.Context, size bool) ([]*containerv1.Volume, error) {
	var out []*containerv1.Volume
	for req := (&containerv1.ListVolumesRequest{Size: size}); ; {
		res, err := c.Volumes.ListVolumes(ctx, req)
		if err != nil {
			return nil, err
		}
		out = append(out, res.GetVolumes()...)
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			return out, nil
		}
	}
}
