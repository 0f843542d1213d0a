package image

import (
	"context"
	"io"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/archive"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
)

// Layout returns the manifest and the configuration of an image, as Save writes them: the layers are
// uncompressed. An empty platform means the host's if the name has an image for it.
func (m *Images) Layout(ref, platform string) (manifest, config []byte, err error) {
	img, err := m.Resolve(ref, platform)
	if err != nil {
		return nil, nil, err
	}
	saved := &archive.Saved{ID: img.ID, Config: img.Config, Manifest: img.Manifest}
	for _, d := range img.Layers {
		size, err := m.layers.TarSize(d)
		if err != nil {
			return nil, nil, cannot(subject(Familiar(firstName(img))), "be read", err)
		}
		saved.Layers = append(saved.Layers, archive.SavedLayer{DiffID: d, Size: size})
	}
	_, manifest, err = saved.Document()
	return manifest, img.Config, err
}

// ReadLayer writes the uncompressed archive of a stored layer.
func (m *Images) ReadLayer(ctx context.Context, diffID string, w io.Writer) error {
	if !layers.ValidDiffID(diffID) {
		return fault.Invalidf("layer", "diff_id", "%.100q is not a digest", diffID)
	}
	m.layers.Hold(diffID)
	defer m.release([]string{diffID})
	if !m.layers.Has(diffID) {
		return fault.New(fault.NotFound, "layer "+layers.Short(diffID), "is not stored")
	}
	return m.layers.Tar(ctx, diffID, w)
}
