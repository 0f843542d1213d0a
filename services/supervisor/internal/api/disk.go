package api

import (
	"context"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/disk"
)

// Disk is the part of package disk that the handlers use.
type Disk interface {
	Prune(ctx context.Context, s disk.Selection) (deleted []string, reclaimed int64, err error)
	Size(ctx context.Context, uid string) (int64, error)
	Measure(ctx context.Context) (*disk.Usage, error)
}

// PruneContainers implements ContainerServiceServer.
func (s *containerServer) PruneContainers(ctx context.Context,
	req *containerv1.PruneContainersRequest) (*containerv1.PruneContainersResponse, error) {
	selection := disk.Selection{Labels: req.GetLabels(), Exclude: req.GetExcludeLabels()}
	if req.GetUntil() != nil {
		selection.Until = req.GetUntil().AsTime()
	}
	deleted, reclaimed, err := s.disk.Prune(ctx, selection)
	if err != nil {
		return nil, err
	}
	return &containerv1.PruneContainersResponse{Deleted: deleted, Reclaimed: reclaimed}, nil
}

// GetDiskUsage implements ContainerServiceServer.
func (s *containerServer) GetDiskUsage(ctx context.Context,
	_ *containerv1.GetDiskUsageRequest) (*containerv1.GetDiskUsageResponse, error) {
	u, err := s.disk.Measure(ctx)
	if err != nil {
		return nil, err
	}
	return &containerv1.GetDiskUsageResponse{Layers: u.Layers, UnusedLayers: u.UnusedLayers, SharedLayers: u.Shared,
		Containers: u.Containers, Volumes: u.Volumes}, nil
}
