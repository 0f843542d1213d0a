package client

import (
	"context"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

// ListContainers returns containers, newest first. With all it includes stopped containers.
func (c *Client) ListContainers(ctx context.Context, all bool) ([]*containerv1.Container, error) {
	return c.SelectContainers(ctx, &containerv1.ListContainersRequest{All: all})
}

// ListImages returns all images, newest first.
func (c *Client) ListImages(ctx context.Context) ([]*containerv1.Image, error) {
	return c.SelectImages(ctx, &containerv1.ListImagesRequest{})
}

// ListVolumes returns all volumes, sorted by name. With size it measures each one.
func (c *Client) ListVolumes(ctx context.Context, size bool) ([]*containerv1.Volume, error) {
	return c.SelectVolumes(ctx, &containerv1.ListVolumesRequest{Size: size})
}

// SelectContainers returns the containers that a request selects, newest first. It changes the page token
// of the request.
func (c *Client) SelectContainers(ctx context.Context,
	req *containerv1.ListContainersRequest) ([]*containerv1.Container, error) {
	var out []*containerv1.Container
	for {
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

// SelectImages returns the images that a request selects, newest first. It changes the page token of the
// request.
func (c *Client) SelectImages(ctx context.Context, req *containerv1.ListImagesRequest) ([]*containerv1.Image, error) {
	var out []*containerv1.Image
	for {
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

// SelectVolumes returns the volumes that a request selects, sorted by name. It changes the page token of
// the request.
func (c *Client) SelectVolumes(ctx context.Context, req *containerv1.ListVolumesRequest) ([]*containerv1.Volume,
	error) {
	var out []*containerv1.Volume
	for {
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

// ListDNSRecords returns the DNS records of a network, or with an empty name all, sorted by network, name,
// type and data.
func (c *Client) ListDNSRecords(ctx context.Context, network string) ([]*dnsv1.Record, error) {
	var out []*dnsv1.Record
	req := &dnsv1.ListRecordsRequest{Network: network}
	for {
		res, err := c.DNSRecords.ListRecords(ctx, req)
		if err != nil {
			return nil, err
		}
		out = append(out, res.GetRecords()...)
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			return out, nil
		}
	}
}

// ListDNSForwards returns the DNS forwards of a network, or with an empty name all, sorted by network and
// domain.
func (c *Client) ListDNSForwards(ctx context.Context, network string) ([]*dnsv1.Forward, error) {
	var out []*dnsv1.Forward
	req := &dnsv1.ListForwardsRequest{Network: network}
	for {
		res, err := c.DNSForwards.ListForwards(ctx, req)
		if err != nil {
			return nil, err
		}
		out = append(out, res.GetForwards()...)
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			return out, nil
		}
	}
}
