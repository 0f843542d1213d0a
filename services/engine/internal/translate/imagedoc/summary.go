// Package imagedoc converts images and the progress of pulls and pushes to Docker's form. It performs no I/O.
// Package images uses it.
package imagedoc

import (
	"slices"

	"github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
)

// notMeasured is the value of sizes and counts that a request did not ask for.
const notMeasured = -1

// Usage holds additional data of a list.
type Usage struct {
	Shared     map[string]int64    // by image ID: bytes of layers that other images have too; nil unless requested
	Containers map[string][]string // by image ID: the containers that use it; nil without manifests
	Disk       bool                // all versions have the numbers of disk usage, other lists only later ones
	Manifests  bool
}

// legacySummary is an image of a list in API versions before 1.44.
type legacySummary struct {
	image.Summary
	VirtualSize int64
}

// SummaryFromProto returns an image of a list, as an API version has it.
func SummaryFromProto(i *containerv1.Image, v apiversion.Version, u Usage) any {
	s := image.Summary{
		Containers:  notMeasured,
		Created:     i.GetCreatedAt().GetSeconds(),
		ID:          i.GetId(),
		Labels:      labelsOf(i),
		RepoDigests: list(i.GetDigests()),
		RepoTags:    list(i.GetTags()),
		SharedSize:  notMeasured,
		Size:        i.GetSize(),
	}
	if v.AtLeast(51) || u.Disk {
		s.Containers = i.GetContainers()
	}
	if (v.AtLeast(42) || u.Disk) && u.Shared != nil {
		s.SharedSize = u.Shared[i.GetId()]
	}
	if v.AtLeast(48) {
		s.Descriptor = descriptorFromProto(i)
	}
	if v.AtLeast(47) && u.Manifests {
		s.Manifests = manifestsFromProto(i, u.Containers[i.GetId()])
	}
	if v.Before(43) && len(s.RepoTags) == 0 && len(s.RepoDigests) == 0 {
		s.RepoTags, s.RepoDigests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
	}

	if v.Before(44) {
		return legacySummary{s, s.Size}
	}
	return s
}

// descriptorFromProto returns the descriptor of the manifest of an image, or nil if it was built or
// imported here.
func descriptorFromProto(i *containerv1.Image) *ocispec.Descriptor {
	if i.GetManifestDigest() == "" {
		return nil
	}
	return &ocispec.Descriptor{MediaType: i.GetManifestType(), Digest: digest.Digest(i.GetManifestDigest()),
		Size: i.GetManifestSize()}
}

// manifestsFromProto returns the manifest of an image with the containers that use it. An image of
// Fairlead has one platform.
func manifestsFromProto(i *containerv1.Image, containers []string) []image.ManifestSummary {
	d := descriptorFromProto(i)
	if d == nil {
		return nil
	}

	p := platformFromText(i.GetPlatform())
	d.Platform = &p
	m := image.ManifestSummary{ID: d.Digest.String(), Descriptor: *d, Available: true, Kind: image.ManifestKindImage,
		ImageData: &image.ImageProperties{Platform: p, Containers: list(slices.Sorted(slices.Values(containers)))}}
	m.Size.Total = i.GetSize()
	m.ImageData.Size.Unpacked = i.GetSize()
	return []image.ManifestSummary{m}
}

// list returns an empty list instead of nil, which JSON would show as null.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
