package api

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/selection"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// Volumes is the part of package volumes that the handlers use.
type Volumes interface {
	Create(ctx context.Context, v *volume.Volume) (*volume.Volume, error)
	Remove(ctx context.Context, name string) error
	Prune(ctx context.Context, s volume.Selection) (deleted []string, reclaimed int64, err error)
	Find(name string) (*volume.Volume, error)
	List() []*volume.Volume
	Users(name string) []string
	Path(name string) string
	Size(ctx context.Context, name string) (int64, error)
}

// volumeServer implements fairlead.container.v1.VolumeService.
type volumeServer struct {
	containerv1.UnimplementedVolumeServiceServer
	volumes Volumes
}

// CreateVolume implements VolumeServiceServer.
func (s *volumeServer) CreateVolume(ctx context.Context,
	req *containerv1.CreateVolumeRequest) (*containerv1.CreateVolumeResponse, error) {
	name, labels := req.GetName(), req.GetLabels()
	if name == "" {
		name = id.New()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[volume.AnonymousLabel] = ""
	}

	v, err := volume.New(name, req.GetDriver(), req.GetOptions(), labels, time.Now())
	if err != nil {
		return nil, err
	}
	if v, err = s.volumes.Create(ctx, v); err != nil {
		return nil, err
	}
	return &containerv1.CreateVolumeResponse{Volume: s.toProto(v)}, nil
}

// ListVolumes implements VolumeServiceServer.
func (s *volumeServer) ListVolumes(ctx context.Context,
	req *containerv1.ListVolumesRequest) (*containerv1.ListVolumesResponse, error) {
	selected, err := selection.ParseVolumes(req.GetFilters())
	if err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(s.volumes.List(), func(v *volume.Volume) bool {
		return !selected.Fits(v,
			s.volumes.Users)
	})
	at := func(v *volume.Volume) position { return positionOf(time.Time{}, v.Name) }
	out, next, err := page(list, req.GetPageToken(), at, s.toProto)
	if err != nil {
		return nil, err
	}

	for _, v := range out {
		if !req.GetSize() {
			break
		}
		size, err := s.volumes.Size(ctx, v.GetName())
		if err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			size = -1 // it was removed meanwhile, or cannot be read
		}
		v.Size = &size
	}

	return &containerv1.ListVolumesResponse{Volumes: out, NextPageToken: next}, nil
}

// GetVolume implements VolumeServiceServer.
func (s *volumeServer) GetVolume(_ context.Context,
	req *containerv1.GetVolumeRequest) (*containerv1.GetVolumeResponse, error) {
	v, err := s.volumes.Find(req.GetName())
	if err != nil {
		return nil, err
	}
	return &containerv1.GetVolumeResponse{Volume: s.toProto(v)}, nil
}

// RemoveVolume implements VolumeServiceServer.
func (s *volumeServer) RemoveVolume(ctx context.Context,
	req *containerv1.RemoveVolumeRequest) (*containerv1.RemoveVolumeResponse, error) {
	return &containerv1.RemoveVolumeResponse{}, s.volumes.Remove(ctx, req.GetName())
}

// PruneVolumes implements VolumeServiceServer.
func (s *volumeServer) PruneVolumes(ctx context.Context,
	req *containerv1.PruneVolumesRequest) (*containerv1.PruneVolumesResponse, error) {
	deleted, reclaimed, err := s.volumes.Prune(ctx, volume.Selection{All: req.GetAll(), Labels: req.GetLabels(),
		Exclude: req.GetExcludeLabels()})
	if err != nil {
		return nil, err
	}
	return &containerv1.PruneVolumesResponse{Deleted: deleted, Reclaimed: reclaimed}, nil
}

func (s *volumeServer) toProto(v *volume.Volume) *containerv1.Volume {
	return &containerv1.Volume{Name: v.Name, Driver: v.Driver, Options: v.Options, Labels: v.Labels,
		Mountpoint: s.volumes.Path(v.Name), CreatedAt: timestamppb.New(v.CreatedAt),
		Containers: s.volumes.Users(v.Name), Anonymous: v.Anonymous()}
}
