package api

import (
	"math"

	"github.com/opencontainers/go-digest"
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
	if !img.TaggedAt.IsZero() {
		m.LastTaggedAt = timestamppb.New(img.TaggedAt)
	}
	if len(img.Manifest) > 0 {
		m.ManifestDigest, m.ManifestType = digest.FromBytes(img.Manifest).String(), img.ManifestType
		m.ManifestSize = int64(len(img.Manifest))
	}
	return m
}

func credentialsFromProto(c *containerv1.Credentials) image.Credentials {
	return image.Credentials{Username: c.GetUsername(), Password: c.GetPassword(), IdentityToken: c.GetIdentityToken()}
}

func imageProgressToProto(p image.Progress) *containerv1.Progress {
	return &containerv1.Progress{Step: p.Step, Subject: p.Subject, Done: p.Done, Total: p.Total}
}

func imageStepToProto(s image.Step) *containerv1.ImageHistory {
	m := &containerv1.ImageHistory{Id: s.ID, CreatedBy: s.CreatedBy, Comment: s.Comment, Size: s.Size, Tags: s.Tags}
	if !s.CreatedAt.IsZero() {
		m.CreatedAt = timestamppb.New(s.CreatedAt)
	}
	return m
}

func foundImageToProto(f image.Found) *containerv1.FoundImage {
	return &containerv1.FoundImage{Name: f.Name, Description: f.Description, Stars: int32(min(f.Stars, math.MaxInt32)),
		Official: f.Official, Automated: f.Automated}
}
