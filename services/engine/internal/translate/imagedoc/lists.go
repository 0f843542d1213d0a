package imagedoc

import (
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// HistoryFromProto returns the build steps of an image.
func HistoryFromProto(steps []*containerv1.ImageHistory) []image.HistoryResponseItem {
	out := []image.HistoryResponseItem{}
	for _, s := range steps {
		item := image.HistoryResponseItem{Comment: s.GetComment(), Created: s.GetCreatedAt().GetSeconds(),
			CreatedBy: s.GetCreatedBy(), ID: s.GetId(), Size: s.GetSize(), Tags: s.GetTags()}
		if item.ID == "" {
			item.ID = "<missing>"
		}
		out = append(out, item)
	}
	return out
}

// Deleted returns what was removed. It is nil if nothing was.
func Deleted(untagged, deleted []string) (out []image.DeleteResponse) {
	for _, name := range untagged {
		out = append(out, image.DeleteResponse{Untagged: name})
	}
	for _, id := range deleted {
		out = append(out, image.DeleteResponse{Deleted: id})
	}
	return out
}

// DistributionFromProto returns what a registry has of an image.
func DistributionFromProto(r *containerv1.GetRemoteImageResponse) registry.DistributionInspect {
	out := registry.DistributionInspect{Platforms: []ocispec.Platform{}, Descriptor: ocispec.Descriptor{
		MediaType: r.GetMediaType(), Digest: digest.Digest(r.GetDigest()), Size: r.GetSize()}}
	for _, p := range r.GetPlatforms() {
		out.Platforms = append(out.Platforms, platformFromText(p))
	}
	return out
}
