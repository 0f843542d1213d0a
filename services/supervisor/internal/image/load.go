package image

import (
	"context"
	"io"
	"strings"

	"github.com/fairlead/fairlead/services/supervisor/internal/image/archive"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Load stores the images of an archive of `docker save` or of an OCI layout: all of them or none.
func (m *Images) Load(ctx context.Context, in io.Reader) ([]*store.Image, error) {
	a, err := archive.Read(ctx, m.root, in)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	images, err := a.Images()
	if err != nil {
		return nil, err
	}

	drafts := make([]*draft, len(images))
	for i, img := range images {
		if drafts[i], err = draftOf(img); err != nil {
			return nil, err
		}
	}

	report := newReporter(nil)
	defer report.close()
	var held []string
	defer func() { m.release(held) }()
	var add []*store.Image
	for _, d := range drafts {
		m.layers.Hold(d.img.Layers...)
		held = append(held, d.img.Layers...)
		if err := m.unpack(ctx, d, report); err != nil {
			return nil, err
		}
		if err := m.finish(d.img); err != nil {
			return nil, err
		}
		add = append(add, d.img)
	}

	stored, err := m.add(add...)
	for _, img := range stored {
		m.emit("load", img.ID, img.ID, img)
	}

	return stored, err
}

func draftOf(img archive.Image) (*draft, error) {
	blobs := make([]layers.Blob, len(img.Layers))
	for i, l := range img.Layers {
		blobs[i] = layers.Blob{Digest: l.Digest, Size: l.Size, Open: l.Open}
	}

	d, err := newDraft("archive", img.ID, img.Config, blobs)
	if err != nil {
		return nil, err
	}

	d.img.Manifest, d.img.ManifestType = img.Manifest, img.ManifestType
	for _, n := range img.Names {
		if strings.Contains(n, "@") { // the manifest digest cannot be verified
			continue
		}
		tag, err := parseTag(n)
		if err != nil {
			return nil, err
		}
		d.img.Tags = append(d.img.Tags, tag.String())
	}

	return d, nil
}
