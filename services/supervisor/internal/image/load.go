package image

import (
	"context"
	"io"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/archive"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Load stores the images of an archive of `docker save` or of an OCI layout: all of them or none.
// With a platform it stores only the images for that platform. The returned images have the tags of the
// archive, not those that they had before.
func (m *Images) Load(ctx context.Context, in io.Reader, want string) ([]*store.Image, error) {
	return m.LoadReporting(ctx, in, want, nil)
}

// LoadReporting is like Load, and reports the progress of each layer. progress is called by one goroutine at
// a time; nil means none.
func (m *Images) LoadReporting(ctx context.Context, in io.Reader, want string,
	progress func(Progress)) ([]*store.Image, error) {
	a, err := archive.Read(ctx, m.root, in)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	images, err := a.Images()
	if err != nil {
		return nil, err
	}

	drafts, err := draftsFor(images, want)
	if err != nil {
		return nil, err
	}

	report := newReporter(progress)
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
	for i, img := range stored {
		m.emit("load", img.ID, img.ID, img)
		n := *img
		n.Tags = add[i].Tags
		stored[i] = &n
	}

	return stored, err
}

// draftsFor returns the drafts of the images for a platform. Empty means all.
func draftsFor(images []archive.Image, want string) ([]*draft, error) {
	var p platform.Platform
	if want != "" {
		var err error
		if p, err = platform.Parse(want); err != nil {
			return nil, err
		}
	}

	var out []*draft
	var have []platform.Platform
	for _, img := range images {
		d, err := draftOf(img)
		if err != nil {
			return nil, err
		}
		q, _ := platform.Parse(d.img.Platform)
		have = append(have, q)
		if want == "" || q.Satisfies(p) {
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "archive", "has no image for "+p.String(), fault.WithField("platform"),
			fault.WithHint("use one of its platforms: %s", list(have)))
	}

	return out, nil
}

func draftOf(img archive.Image) (*draft, error) {
	blobs := make([]layers.Blob, len(img.Layers))
	for i, l := range img.Layers {
		blobs[i] = layers.Blob{Digest: l.Digest, Size: l.Size, Open: l.Open}
	}

	d, err := newDraft("archive", img.ID, img.Config, blobs)
	if err == nil {
		err = setManifest("archive", d.img, img.ManifestType, img.Manifest)
	}
	if err != nil {
		return nil, err
	}

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
