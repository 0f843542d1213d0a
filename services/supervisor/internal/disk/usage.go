package disk

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// Images is the part of the image store that Disk measures.
type Images interface {
	List() []*store.Image
	Containers(img *store.Image) int
	LayerSize(diffID string) int64
}

// Volumes lists and measures volumes.
type Volumes interface {
	List() []*volume.Volume
	Size(ctx context.Context, name string) (int64, error)
}

// unknown is the size of what cannot be measured: it was removed meanwhile, or cannot be read.
const unknown = -1

// Usage holds sizes in bytes.
type Usage struct {
	Layers       int64            // all layers of images, each counted once
	UnusedLayers int64            // layers that no image with a container has
	Shared       map[string]int64 // image ID to the layers that other images have too
	Containers   map[string]int64 // container ID to its writable layer; -1: unknown
	Volumes      map[string]int64 // volume name to its data; -1: unknown
}

// Measure returns what images, containers and volumes occupy.
func (d *Disk) Measure(ctx context.Context) (*Usage, error) {
	u := &Usage{Shared: map[string]int64{}, Containers: map[string]int64{}, Volumes: map[string]int64{}}
	u.addImages(d.Images)

	for _, c := range d.Containers.List() {
		size, err := d.Size(ctx, c.ID)
		if u.Containers[c.ID] = size; err != nil {
			u.Containers[c.ID] = unknown
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}

	for _, v := range d.Volumes.List() {
		size, err := d.Volumes.Size(ctx, v.Name)
		if u.Volumes[v.Name] = size; err != nil {
			u.Volumes[v.Name] = unknown
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}

	return u, nil
}

// addImages adds the layers of all images. A layer that an image has several times is stored once.
func (u *Usage) addImages(images Images) {
	count, used := map[string]int{}, map[string]bool{}
	list := images.List()
	layers := map[string][]string{} // by image, each once
	for _, img := range list {
		layers[img.ID] = distinct(img.Layers)
		active := images.Containers(img) > 0
		for _, l := range layers[img.ID] {
			count[l]++
			used[l] = used[l] || active
		}
	}

	sizes := map[string]int64{}
	for l := range count {
		sizes[l] = images.LayerSize(l)
		u.Layers += sizes[l]
		if !used[l] {
			u.UnusedLayers += sizes[l]
		}
	}

	for _, img := range list {
		u.Shared[img.ID] = 0
		for _, l := range layers[img.ID] {
			if count[l] > 1 {
				u.Shared[img.ID] += sizes[l]
			}
		}
	}
}

func distinct(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s], out = true, append(out, s)
		}
	}
	return out
}
