package image

import (
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/image/filter"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// List returns all images, newest first.
func (m *Images) List() []*store.Image { return m.store.ListImages() }

// Select returns the images that match filters, newest first, with the tags that match. The keys
// are those of `docker images`.
func (m *Images) Select(filters []string) ([]*store.Image, error) {
	all := m.List()
	if len(filters) == 0 {
		return all, nil
	}

	f, err := filter.Parse(filters, time.Now(), filter.Until, filter.Label, filter.Dangling, filter.Before,
		filter.Since, filter.Reference)
	if err != nil {
		return nil, err
	}
	for _, bound := range []struct {
		images []string
		add    func(time.Time)
	}{{f.Before, f.CreatedBefore}, {f.Since, f.CreatedSince}} {
		for _, ref := range bound.images {
			img, err := m.Get(ref)
			if err != nil {
				return nil, err
			}
			bound.add(img.CreatedAt)
		}
	}

	var out []*store.Image
	for _, img := range all {
		if n := f.Select(img); n != nil {
			out = append(out, n)
		}
	}

	return out, nil
}
