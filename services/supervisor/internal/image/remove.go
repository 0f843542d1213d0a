package image

import (
	"slices"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/filter"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Removal is the result of Remove and Prune.
type Removal struct {
	Untagged  []string // removed names in short form
	Deleted   []string // image IDs and layers that no other image has
	Reclaimed int64    // unpacked size of the deleted layers
}

// Remove removes a tag, and with its last tag the image. Without a platform it applies to all
// platforms of the name. See store.RemoveImages for images in use.
func (m *Images) Remove(ref, platform string, force bool) (*Removal, error) {
	found, name, err := m.findFor(ref, platform)
	if err != nil {
		return nil, err
	}

	var ids []string
	for _, img := range found {
		ids = append(ids, img.ID)
	}
	done, err := m.store.RemoveImages(ids, name, force)
	if err != nil {
		return nil, named(ref, err)
	}

	return m.removed(done), nil
}

// Prune removes images that no container uses: those without a tag, or all. Filters are until,
// label and label!. It also removes the layers of interrupted pulls.
func (m *Images) Prune(all bool, filters []string) (*Removal, error) {
	f, err := filter.Parse(filters, time.Now(), filter.Until, filter.Label, filter.Dangling)
	if err != nil {
		return nil, err
	}

	done, err := m.store.PruneImages(func(img *store.Image) bool {
		return (all || f.AllTags || len(img.Tags) == 0) && f.Match(img)
	})
	if err != nil {
		return nil, err
	}

	out := m.removed(done)
	freed, err := m.layers.SweepResumable(m.store.LayerUsed, 0)
	if err != nil {
		m.log.Warn("layers of interrupted pulls not removed", "error", err)
	}
	out.Reclaimed += freed
	if m.events != nil {
		m.events.Emit(events.Image, "prune", "", map[string]string{
			"reclaimed": strconv.FormatInt(out.Reclaimed, 10)})
	}

	return out, nil
}

// removed removes the layers of deleted images and emits the events.
func (m *Images) removed(done []*store.Removal) *Removal {
	out := &Removal{}
	for _, d := range done {
		for _, n := range d.Untagged {
			if name := Familiar(n); !slices.Contains(out.Untagged, name) { // images of two platforms share it
				out.Untagged = append(out.Untagged, name)
			}
			m.emit("untag", d.Image.ID, d.Image.ID, d.Image)
		}
		if !d.Deleted {
			continue
		}

		m.emit("delete", d.Image.ID, d.Image.ID, d.Image)
		out.Deleted = append(out.Deleted, d.Image.ID)
		sizes := map[string]int64{}
		for _, l := range d.Image.Layers {
			sizes[l], _ = m.layers.Size(l)
		}

		highestFirst := slices.Clone(d.Image.Layers)
		slices.Reverse(highestFirst)
		gone, err := m.layers.Sweep(m.store.LayerUsed, highestFirst...)
		if err != nil {
			// The image record is removed. Open retries the layers.
			m.log.Warn("unused layers not removed", "image", d.Image.ID, "error", err)
		}
		for _, l := range gone {
			out.Reclaimed += sizes[l]
		}
		out.Deleted = append(out.Deleted, gone...)
	}

	return out
}
