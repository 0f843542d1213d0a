package image

import (
	"encoding/json"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
)

// Step is a build step of an image.
type Step struct {
	ID        string // the image after the step; empty if it is not stored
	CreatedAt time.Time
	CreatedBy string
	Comment   string
	Size      int64    // unpacked size of its layer; 0 without one
	Tags      []string // in short form
}

// History returns the build steps of an image, the latest first. Layers that the history does not
// describe are steps without a command.
func (m *Images) History(ref, platform string) ([]Step, error) {
	img, err := m.Resolve(ref, platform)
	if err != nil {
		return nil, err
	}

	var c ocispec.Image
	if err := json.Unmarshal(img.Config, &c); err != nil {
		return nil, fault.Wrap(err, fault.Internal, subject(ref), "configuration is not valid")
	}

	var steps []Step
	layer := 0
	add := func(h ocispec.History) error {
		s := Step{CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			s.CreatedAt = h.Created.UTC()
		}
		if !h.EmptyLayer && layer < len(img.Layers) {
			var err error
			if s.Size, err = m.layers.Size(img.Layers[layer]); err != nil {
				return err
			}
			layer++
		}
		steps = append([]Step{s}, steps...)
		return nil
	}

	for _, h := range c.History {
		if err := add(h); err != nil {
			return nil, err
		}
	}
	for layer < len(img.Layers) {
		if err := add(ocispec.History{}); err != nil {
			return nil, err
		}
	}
	if len(steps) > 0 {
		steps[0].ID = img.ID
		for _, t := range img.Tags {
			steps[0].Tags = append(steps[0].Tags, Familiar(t))
		}
	}

	return steps, nil
}
