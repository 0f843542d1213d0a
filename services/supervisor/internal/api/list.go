package api

import (
	"context"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
	"github.com/fairlead/fairlead/services/supervisor/internal/selection"
)

// ListContainers implements ContainerServiceServer.
func (s *containerServer) ListContainers(ctx context.Context,
	req *containerv1.ListContainersRequest) (*containerv1.ListContainersResponse, error) {
	selected, err := selection.ParseContainers(req.GetFilters(), s.images)
	if err != nil {
		return nil, err
	}
	selected.All, selected.Limit = req.GetAll(), int(req.GetLimit())
	list, err := selected.Select(s.containers.List())
	if err != nil {
		return nil, err
	}

	out, next, err := page(list, req.GetPageToken(),
		func(c *container.Container) position { return positionOf(c.CreatedAt, c.ID) },
		func(c *container.Container) *containerv1.Container {
			if req.GetSummary() {
				return s.measured(ctx, c, s.withVolumes(protoconv.SummaryToProto(c)), req.GetSize())
			}
			return s.measured(ctx, c, s.message(c), req.GetSize())
		})
	if err != nil {
		return nil, err
	}

	return &containerv1.ListContainersResponse{Containers: out, NextPageToken: next}, ctx.Err()
}

// measured adds the size of a container if requested. A container that was removed meanwhile has none.
func (s *containerServer) measured(ctx context.Context, c *container.Container, out *containerv1.Container,
	size bool) *containerv1.Container {
	if !size {
		return out
	}
	if rw, err := s.disk.Size(ctx, c.ID); err == nil {
		total := rw
		if img, err := s.images.Resolve(c.ImageID, ""); err == nil {
			total += img.Size
		}
		out.SizeRw, out.SizeRootFs = &rw, &total
	}
	return out
}
