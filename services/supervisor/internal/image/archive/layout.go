package archive

import (
	"cmp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
)

// The annotations that name an image in an OCI layout. containerd's has the full name, OCI's often
// only the tag.
const (
	fullName = "io.containerd.image.name"
	refName  = "org.opencontainers.image.ref.name"
)

// maxDepth limits the nesting of indexes.
const maxDepth = 4

func (a *Archive) layout() ([]Image, error) {
	var index v1.IndexManifest
	if _, err := a.document("index.json", &index, maxDocument); err != nil {
		return nil, err
	}
	if len(index.Manifests) > maxImages {
		return nil, tooMany(len(index.Manifests))
	}

	var out []Image
	at := map[string]int{}
	for _, d := range index.Manifests {
		if isAttestation(d) {
			continue
		}
		found, err := a.images(d, maxDepth)
		if err != nil {
			return nil, err
		}
		name := nameOf(d)
		for _, img := range found {
			if i, seen := at[img.ID]; seen {
				out[i].Names = append(out[i].Names, name...)
				continue
			}
			at[img.ID] = len(out)
			img.Names = name
			out = append(out, img)
		}
	}

	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, subject, "contains no image")
	}

	return out, nil
}

// nameOf returns the name of an image, if it has one. A ref.name without a repository is ignored.
func nameOf(d v1.Descriptor) []string {
	if n := d.Annotations[fullName]; n != "" {
		return []string{n}
	}
	if n := d.Annotations[refName]; strings.ContainsAny(n, ":/") {
		return []string{n}
	}
	return nil
}

// isAttestation reports whether a manifest holds statements about an image instead of one.
func isAttestation(d v1.Descriptor) bool { return d.Platform != nil && d.Platform.OS == "unknown" }

// images returns the image of a manifest, or those of an index, one for each platform. An archive
// need not contain all images of an index.
func (a *Archive) images(d v1.Descriptor, depth int) ([]Image, error) {
	if depth == 0 {
		return nil, fault.New(fault.Invalid, subject, "contains too deeply nested indexes")
	}
	if !d.MediaType.IsIndex() {
		img, err := a.image(d)
		return []Image{img}, err
	}

	var index v1.IndexManifest
	if _, err := a.blob(d.Digest, &index, maxDocument); err != nil {
		return nil, err
	}
	if len(index.Manifests) > maxImages {
		return nil, tooMany(len(index.Manifests))
	}

	var out []Image
	var failure error
	for _, m := range index.Manifests {
		if isAttestation(m) {
			continue
		}
		found, err := a.images(m, depth-1)
		if err != nil && (failure == nil || a.has(blobName(m.Digest))) {
			failure = err
		}
		if err == nil {
			out = append(out, found...)
		}
	}
	if len(out) == 0 {
		return nil, cmp.Or(failure, error(fault.New(fault.Invalid, subject, "contains an index without images")))
	}

	return out, nil
}

// complete adds to the images of manifest.json what only index.json has: manifests and other
// platforms. An invalid index.json is ignored.
func (a *Archive) complete(images []Image) []Image {
	more, err := a.layout()
	if err != nil {
		return images
	}

	for _, m := range more {
		i := slices.IndexFunc(images, func(img Image) bool { return img.ID == m.ID })
		if i < 0 {
			images = append(images, m)
			continue
		}
		images[i].Manifest, images[i].ManifestType = m.Manifest, m.ManifestType
	}

	return images
}

func (a *Archive) image(d v1.Descriptor) (Image, error) {
	var m v1.Manifest
	manifest, err := a.blob(d.Digest, &m, maxDocument)
	if err != nil {
		return Image{}, err
	}
	if !m.Config.MediaType.IsConfig() {
		return Image{}, fault.New(fault.Invalid, subject,
			"contains a manifest that is not a container image but of type "+string(m.Config.MediaType))
	}

	config, err := a.blob(m.Config.Digest, &struct{}{}, registry.MaxConfig)
	if err != nil {
		return Image{}, err
	}

	img := Image{Config: config, ID: m.Config.Digest.String(), Manifest: manifest, ManifestType: string(d.MediaType)}
	for _, l := range m.Layers {
		blob, err := a.layer(blobName(l.Digest), l.Digest.String())
		if err != nil {
			return Image{}, err
		}
		img.Layers = append(img.Layers, blob)
	}

	return img, nil
}

func (a *Archive) blob(h v1.Hash, into any, limit int64) ([]byte, error) {
	data, err := a.document(blobName(h), into, limit)
	if err != nil {
		return nil, err
	}
	if got := digestOf(data); got != h.String() {
		return nil, fault.New(fault.Invalid, subject, blobName(h)+" has the wrong digest "+got)
	}
	return data, nil
}

func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
