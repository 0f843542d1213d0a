// Package usage translates the disk usage of the host. It performs no I/O.
package usage

import (
	"slices"
	"time"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/volume"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
	"github.com/fairlead/fairlead/services/engine/internal/translate/inspect"
	"github.com/fairlead/fairlead/services/engine/internal/translate/listing"
	"github.com/fairlead/fairlead/services/engine/internal/translate/state"
	"github.com/fairlead/fairlead/services/engine/internal/translate/volumedoc"
)

// Host holds all objects of the host.
type Host struct {
	Usage      *containerv1.GetDiskUsageResponse
	Containers []*containerv1.Container
	Images     []*containerv1.Image
	Volumes    []*containerv1.Volume
	BuildCache []build.CacheRecord
}

// Document is the answer to GET /system/df. Version 1.53 removed the first five fields.
type Document struct {
	LayersSize *int64 `json:",omitempty"`
	Images     *[]any `json:",omitempty"`
	Containers *[]any `json:",omitempty"`
	Volumes    *[]any `json:",omitempty"`
	BuildCache *[]any `json:",omitempty"`

	ImageUsage      *Objects `json:",omitempty"`
	ContainerUsage  *Objects `json:",omitempty"`
	VolumeUsage     *Objects `json:",omitempty"`
	BuildCacheUsage *Objects `json:",omitempty"`
}

// Objects is the usage of one kind of objects.
type Objects struct {
	ActiveCount int64
	TotalCount  int64
	Reclaimable int64
	TotalSize   int64
	Items       []any `json:",omitempty"`
}

// FromProto returns the document for the wanted kinds of objects.
func FromProto(h Host, wanted []string, verbose bool, now time.Time, v apiversion.Version) *Document {
	doc := &Document{}
	former := v.Before(53) && !verbose
	add := func(kind string, usage Objects, current **Objects, list **[]any) {
		if !slices.Contains(wanted, kind) {
			return
		}
		if former {
			items := usage.Items
			*list = &items
		}
		if v.AtLeast(52) {
			if !verbose {
				usage.Items = nil
			}
			*current = &usage
		}
	}
	add("image", h.images(v), &doc.ImageUsage, &doc.Images)
	add("container", h.containers(now, v), &doc.ContainerUsage, &doc.Containers)
	add("volume", h.volumes(), &doc.VolumeUsage, &doc.Volumes)
	add("build-cache", h.buildCache(), &doc.BuildCacheUsage, &doc.BuildCache)
	if former && slices.Contains(wanted, "image") {
		size := max(h.Usage.GetLayers(), 0)
		doc.LayersSize = &size
	}
	return doc
}

func (h Host) images(v apiversion.Version) Objects {
	out := Objects{TotalCount: int64(len(h.Images)), TotalSize: max(h.Usage.GetLayers(), 0),
		Reclaimable: max(h.Usage.GetUnusedLayers(), 0), Items: []any{}}
	shared := h.Usage.GetSharedLayers()
	if shared == nil {
		shared = map[string]int64{}
	}
	for _, image := range h.Images {
		if image.GetContainers() > 0 {
			out.ActiveCount++
		}
		out.Items = append(out.Items, imagedoc.SummaryFromProto(image, v, imagedoc.Usage{Shared: shared, Disk: true}))
	}
	return out
}

func (h Host) containers(now time.Time, v apiversion.Version) Objects {
	out := Objects{TotalCount: int64(len(h.Containers)), Items: []any{}}
	root := map[string]int64{}
	for _, image := range h.Images {
		root[image.GetId()] = image.GetSize()
	}
	for _, c := range h.Containers {
		size := max(h.Usage.GetContainers()[c.GetId()], 0)
		out.TotalSize += size
		if state.Running(c) {
			out.ActiveCount++
		} else {
			out.Reclaimable += size
		}
		out.Items = append(out.Items, listing.FromProto(c, &inspect.Sizes{Writable: size,
			Root: size + root[c.GetImageId()]}, now, v))
	}
	return out
}

// buildCache returns the usage of the build cache. What is shared with other records is not added.
func (h Host) buildCache() Objects {
	out := Objects{TotalCount: int64(len(h.BuildCache)), Items: []any{}}
	for _, r := range h.BuildCache {
		if r.InUse {
			out.ActiveCount++
		}
		if !r.Shared {
			out.TotalSize += r.Size
			if !r.InUse {
				out.Reclaimable += r.Size
			}
		}
		out.Items = append(out.Items, r)
	}
	return out
}

func (h Host) volumes() Objects {
	out := Objects{TotalCount: int64(len(h.Volumes)), Items: []any{}}
	users := map[string]int64{}
	for _, c := range h.Containers {
		for _, m := range c.GetConfig().GetMounts() {
			if m.GetType() == containerv1.MountType_MOUNT_TYPE_VOLUME {
				users[m.GetSource()]++
			}
		}
	}
	for _, v := range h.Volumes {
		size, known := h.Usage.GetVolumes()[v.GetName()]
		if !known {
			size = -1
		}
		out.TotalSize += max(size, 0)
		if users[v.GetName()] > 0 {
			out.ActiveCount++
		} else {
			out.Reclaimable += max(size, 0)
		}
		item := volumedoc.VolumeFromProto(v)
		item.UsageData = &volume.UsageData{RefCount: users[v.GetName()], Size: size}
		out.Items = append(out.Items, item)
	}
	return out
}
