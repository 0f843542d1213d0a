package archive

import (
	"archive/tar"
	"context"
	"encoding/json"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Saved is an image to write.
type Saved struct {
	Names    []string // full references with tag, for index.json
	RepoTags []string // short references, for manifest.json, which has one platform of a name
	ID       string
	Config   []byte
	Platform ocispec.Platform
	Layers   []SavedLayer // lowest first
	Manifest []byte       // written as it is if it has the layers uncompressed; can be empty

	manifest ocispec.Descriptor
}

// SavedLayer is an uncompressed layer.
type SavedLayer struct {
	DiffID string
	Size   int64
}

// Write writes images as an OCI layout that is an archive of `docker save` too. tarOf writes the
// uncompressed archive of a layer. The same images give the same archive.
func Write(ctx context.Context, out io.Writer, images []*Saved,
	tarOf func(ctx context.Context, diffID string, w io.Writer) error) error {
	w := &writer{tar: tar.NewWriter(out), written: map[string]bool{}}
	if err := w.directories(); err != nil {
		return err
	}

	for _, img := range images {
		if err := w.image(ctx, img, tarOf); err != nil {
			return err
		}
	}
	if err := w.indexes(images); err != nil {
		return err
	}

	return w.tar.Close()
}

type writer struct {
	tar     *tar.Writer
	written map[string]bool
}

func (w *writer) directories() error {
	for _, name := range []string{"blobs/", "blobs/sha256/"} {
		if err := w.tar.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755,
			ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) header(name string, size int64) error {
	return w.tar.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size,
		ModTime: time.Unix(0, 0)})
}

func (w *writer) file(name string, data []byte) error {
	if w.written[name] {
		return nil
	}
	w.written[name] = true
	if err := w.header(name, int64(len(data))); err != nil {
		return err
	}
	_, err := w.tar.Write(data)
	return err
}

// blob writes a document and returns its descriptor.
func (w *writer) blob(mediaType string, data []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	return d, w.file(pathOf(d.Digest.String()), data)
}

func pathOf(digest string) string {
	algorithm, hexa, _ := strings.Cut(digest, ":")
	return path.Join("blobs", algorithm, hexa)
}

// image writes the layers, the configuration and the manifest of an image.
func (w *writer) image(ctx context.Context, img *Saved,
	tarOf func(ctx context.Context, diffID string, w io.Writer) error) error {
	for _, l := range img.Layers {
		name := pathOf(l.DiffID)
		if w.written[name] {
			continue
		}
		w.written[name] = true
		if err := w.header(name, l.Size); err != nil {
			return err
		}
		if err := tarOf(ctx, l.DiffID, w.tar); err != nil {
			return err
		}
		if err := w.tar.Flush(); err != nil {
			return err
		}
	}

	if err := w.file(pathOf(img.ID), img.Config); err != nil {
		return err
	}

	mediaType, data, err := img.Document()
	if err != nil {
		return err
	}
	img.manifest, err = w.blob(mediaType, data)
	img.manifest.Platform = &img.Platform

	return err
}

// Document returns the manifest of an image: the stored one if it describes uncompressed layers.
func (img *Saved) Document() (mediaType string, data []byte, err error) {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.Digest(img.ID),
			Size: int64(len(img.Config))},
		Layers: []ocispec.Descriptor{}}
	for _, l := range img.Layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer,
			Digest: digest.Digest(l.DiffID), Size: l.Size})
	}

	var stored ocispec.Manifest
	if err := json.Unmarshal(img.Manifest, &stored); err == nil && stored.MediaType != "" &&
		slices.EqualFunc(stored.Layers, m.Layers, func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest }) {
		return stored.MediaType, img.Manifest, nil
	}

	data, err = json.Marshal(m)
	return m.MediaType, data, err
}

// indexes writes index.json, manifest.json and the marker of an OCI layout.
func (w *writer) indexes(images []*Saved) error {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{}}
	list := []savedImage{}
	var names []string
	byName := map[string][]ocispec.Descriptor{}
	for _, img := range images {
		entry := savedImage{Config: pathOf(img.ID), RepoTags: img.RepoTags}
		for _, l := range img.Layers {
			entry.Layers = append(entry.Layers, pathOf(l.DiffID))
		}
		if len(img.RepoTags) > 0 || len(img.Names) == 0 {
			list = append(list, entry)
		}

		if len(img.Names) == 0 {
			index.Manifests = append(index.Manifests, img.manifest)
		}
		for _, n := range img.Names {
			if byName[n] == nil {
				names = append(names, n)
			}
			byName[n] = append(byName[n], img.manifest)
		}
	}

	for _, n := range names {
		d, err := w.named(n, byName[n])
		if err != nil {
			return err
		}
		index.Manifests = append(index.Manifests, d)
	}

	for _, f := range []struct {
		name    string
		content any
	}{
		{"index.json", index}, {"manifest.json", list}, {ocispec.ImageLayoutFile,
			ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}},
	} {
		data, err := json.Marshal(f.content)
		if err != nil {
			return err
		}
		if err := w.file(f.name, data); err != nil {
			return err
		}
	}

	return nil
}

// named returns the descriptor of a name: of its manifest, or of an index of its platforms.
func (w *writer) named(name string, manifests []ocispec.Descriptor) (ocispec.Descriptor, error) {
	d := manifests[0]
	if len(manifests) > 1 {
		data, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests})
		if err != nil {
			return d, err
		}
		if d, err = w.blob(ocispec.MediaTypeImageIndex, data); err != nil {
			return d, err
		}
	}

	d.Annotations = map[string]string{fullName: name, refName: name[strings.LastIndexByte(name, ':')+1:]}

	return d, nil
}
