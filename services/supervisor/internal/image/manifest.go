package image

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// The media types of Docker's manifests, version 2, schema 2.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// pushedManifest is a manifest or index in a registry.
type pushedManifest struct {
	mediaType string
	data      []byte
	platform  string
}

func (m *pushedManifest) digest() string { return digest.FromBytes(m.data).String() }

// blobOf returns the digest of a layer in the stored manifest of an image, or "".
func blobOf(img *store.Image, i int) string {
	var m ocispec.Manifest
	if err := json.Unmarshal(img.Manifest, &m); err != nil || i >= len(m.Layers) {
		return ""
	}
	return m.Layers[i].Digest.String()
}

// manifestOf returns the manifest of an image with the given blobs: the stored one, byte for byte,
// if it has the same blobs. Otherwise it is of the stored type; without one, of Docker's.
func manifestOf(img *store.Image, blobs []layers.Known) (*pushedManifest, error) {
	var stored ocispec.Manifest
	err := json.Unmarshal(img.Manifest, &stored)
	usable := err == nil && len(stored.Layers) == len(blobs)
	same, oci := usable, usable && img.ManifestType == ocispec.MediaTypeImageManifest
	for i, b := range blobs {
		same = same && stored.Layers[i].Digest.String() == b.Digest
		oci = oci || b.MediaType != dockerLayer && b.MediaType != ocispec.MediaTypeImageLayerGzip
	}

	switch {
	case same:
		return &pushedManifest{img.ManifestType, img.Manifest, img.Platform}, nil
	case oci:
		return ociManifest(img, &stored, blobs)
	}

	return schema2(img, blobs)
}

// ociManifest returns an OCI manifest with the annotations and the configuration's type of the
// stored one.
func ociManifest(img *store.Image, stored *ocispec.Manifest, blobs []layers.Known) (*pushedManifest, error) {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Annotations: stored.Annotations, Layers: []ocispec.Descriptor{},
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.Digest(img.ID),
			Size: int64(len(img.Config))}}
	for _, b := range blobs {
		mediaType := b.MediaType
		if mediaType == dockerLayer || mediaType == "" {
			mediaType = ocispec.MediaTypeImageLayerGzip
		}
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(b.Digest),
			Size: b.Size})
	}
	data, err := json.Marshal(m)

	return &pushedManifest{m.MediaType, data, img.Platform}, err
}

// schema2Descriptor has the fields in Docker's order, so that the digest is Docker's too.
type schema2Descriptor struct {
	MediaType string           `json:"mediaType"`
	Size      int64            `json:"size"`
	Digest    string           `json:"digest"`
	Platform  *schema2Platform `json:"platform,omitempty"`
}

type schema2Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// schema2 returns the manifest that `docker push` writes, byte for byte.
func schema2(img *store.Image, blobs []layers.Known) (*pushedManifest, error) {
	m := struct {
		SchemaVersion int                 `json:"schemaVersion"`
		MediaType     string              `json:"mediaType"`
		Config        schema2Descriptor   `json:"config"`
		Layers        []schema2Descriptor `json:"layers"`
	}{2, dockerManifest, schema2Descriptor{MediaType: dockerConfig, Size: int64(len(img.Config)), Digest: img.ID},
		[]schema2Descriptor{}}
	for _, b := range blobs {
		m.Layers = append(m.Layers, schema2Descriptor{MediaType: dockerLayer, Size: b.Size, Digest: b.Digest})
	}
	data, err := json.MarshalIndent(m, "", "   ")

	return &pushedManifest{dockerManifest, data, img.Platform}, err
}

// indexOf returns the index of a name with several platforms.
func indexOf(manifests []pushedManifest) (*pushedManifest, error) {
	out := struct {
		SchemaVersion int                 `json:"schemaVersion"`
		MediaType     string              `json:"mediaType"`
		Manifests     []schema2Descriptor `json:"manifests"`
	}{SchemaVersion: 2, MediaType: dockerList}
	for _, m := range manifests {
		if m.mediaType != dockerManifest {
			out.MediaType = ocispec.MediaTypeImageIndex
		}
		p, err := platform.Parse(m.platform)
		if err != nil {
			return nil, err
		}
		out.Manifests = append(out.Manifests, schema2Descriptor{MediaType: m.mediaType, Size: int64(len(m.data)),
			Digest: m.digest(), Platform: &schema2Platform{Architecture: p.Arch, OS: p.OS, Variant: p.Variant}})
	}

	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetIndent("", "   ")
	err := enc.Encode(out)

	return &pushedManifest{mediaType: out.MediaType, data: bytes.TrimSpace(data.Bytes())}, err
}

func faultSubject(err error) string {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f.Subject
	}
	return ""
}
