package api

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

func imageToProto(img *store.Image) *containerv1.Image {
	m := &containerv1.Image{Id: img.ID, Layers: img.Layers, Size: img.Size, Platform: img.Platform, Config: img.Config}
	for _, t := range img.Tags {
		m.Tags = append(m.Tags, image.Familiar(t))
	}
	for _, d := range img.Digests {
		m.Digests = append(m.Digests, image.Familiar(d))
	}
	if !img.CreatedAt.IsZero() {
		m.CreatedAt = timestamppb.New(img.CreatedAt)
	}
	return m
}
