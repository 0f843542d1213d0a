package registry

import (
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
)

// choose returns the image of a manifest or an index for a platform.
func (s *Source) choose(desc *remote.Descriptor, want platform.Platform) (v1.Image, error) {
	switch {
	case desc.MediaType == types.DockerManifestSchema1 || desc.MediaType == types.DockerManifestSchema1Signed:
		return nil, fault.New(fault.Invalid, Subject(s.ref),
			"uses manifest schema 1 (before 2016), which is not supported",
			fault.WithField("reference"), fault.WithHint("rebuild or push it with a current tool"))
	case !desc.MediaType.IsIndex():
		return s.single(desc, want)
	}

	index, err := desc.ImageIndex()
	if err != nil {
		return nil, err
	}

	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}

	digest, err := ChooseManifest(Subject(s.ref), manifest, want)
	if err != nil {
		return nil, err
	}

	return index.Image(digest)
}

// single returns an image that is not in an index. It must satisfy the wanted platform.
func (s *Source) single(desc *remote.Descriptor, want platform.Platform) (v1.Image, error) {
	img, err := desc.Image()
	if err != nil || want == (platform.Platform{}) {
		return img, err
	}

	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}

	if have := (platform.Platform{OS: config.OS, Arch: config.Architecture,
		Variant: config.Variant}); !have.Satisfies(want) {
		return nil, noPlatform(Subject(s.ref), want, []platform.Platform{have})
	}

	return img, nil
}

// ChooseManifest returns the digest of an index's manifest for a platform. The zero platform means
// the host's.
func ChooseManifest(subject string, index *v1.IndexManifest, want platform.Platform) (v1.Hash, error) {
	var have []platform.Platform
	var digests []v1.Hash
	for _, m := range index.Manifests {
		// Attestations have the platform unknown/unknown.
		if m.Platform == nil || m.Platform.OS == "unknown" || !m.MediaType.IsImage() {
			continue
		}
		have = append(have, platform.Platform{OS: m.Platform.OS, Arch: m.Platform.Architecture,
			Variant: m.Platform.Variant})
		digests = append(digests, m.Digest)
	}

	if want == (platform.Platform{}) {
		want = platform.Host()
		if len(have) == 0 && len(index.Manifests) == 1 { // no platform, and no choice
			return index.Manifests[0].Digest, nil
		}
	}

	i := platform.Best(have, want)
	if i < 0 {
		return v1.Hash{}, noPlatform(subject, want, have)
	}

	return digests[i], nil
}

func noPlatform(subject string, want platform.Platform, have []platform.Platform) error {
	var names []string
	for _, p := range have {
		names = append(names, p.String())
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return fault.New(fault.NotFound, subject, "not available for "+want.String(), fault.WithField("platform"),
		fault.WithHint("use one of its platforms: %s", strings.Join(names, ", ")))
}
