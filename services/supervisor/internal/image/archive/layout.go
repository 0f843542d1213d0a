package archive

import (
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
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
		if d.Platform != nil && d.Platform.OS == "unknown" {
			continue // an attestation
		}
		img, err := a.image(d, maxDepth)
		if err != nil {
			return nil, err
		}
		name := nameOf(d)
		if i, seen := at[img.ID]; seen {
			out[i].Names = append(out[i].Names, name...)
			continue
		}
		at[img.ID] = len(out)
		img.Names = name
		out = append(out, img)
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

func (a *Archive) image(d v1.Descriptor, depth int) (Image, error) {
	if depth == 0 {
		return Image{}, fault.New(fault.Invalid, subject, "contains too deeply nested indexes")
	}

	if d.MediaType.IsIndex() {
		var index v1.IndexManifest
		if _, err := a.blob(d.Digest, &index, maxDocument); err != nil {
			return Image{}, err
		}
		digest, err := registry.ChooseManifest(subject, &index, platform.Platform{})
		if err != nil {
			return Image{}, err
		}
		for _, m := range index.Manifests {
			if m.Digest == digest {
				return a.image(m, depth-1)
			}
		}
	}

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
