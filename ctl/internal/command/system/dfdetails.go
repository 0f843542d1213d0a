package system

import (
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/command/ps"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/dockertext"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// diskDetails holds the fields of `system df -v`, which can be used in templates.
type diskDetails struct {
	Images     []diskImage
	Containers []diskContainer
	Volumes    []diskVolume
	BuildCache []diskCache
}

type diskImage struct {
	Containers   string
	CreatedSince string
	ID           string
	Repository   string
	SharedSize   string
	Size         string
	Tag          string
	UniqueSize   string
}

type diskContainer struct {
	Command      string
	ID           string
	Image        string
	LocalVolumes string
	Names        string
	RunningFor   string
	Size         string
	Status       string
}

type diskVolume struct{ Links, Name, Size string }

// diskCache has the columns of Docker's build cache. Fairlead has none.
type diskCache struct{ ID, CacheType, Size, CreatedSince, LastUsedSince, UsageCount, Shared string }

func (d *disk) details(now time.Time) diskDetails {
	out := diskDetails{Images: []diskImage{}, Containers: []diskContainer{}, Volumes: []diskVolume{},
		BuildCache: []diskCache{}}
	for _, i := range d.images {
		out.Images = append(out.Images, d.imageRow(i, now))
	}
	for _, c := range d.containers {
		out.Containers = append(out.Containers, d.containerRow(c, now))
	}
	for _, v := range d.volumes {
		out.Volumes = append(out.Volumes, diskVolume{Name: v.GetName(), Links: strconv.Itoa(len(v.GetContainers())),
			Size: sizeText(d.sizes.GetVolumes()[v.GetName()])})
	}
	return out
}

// sizeText formats a size. An unknown one is negative.
func sizeText(bytes int64) string {
	if bytes < 0 {
		return "N/A"
	}
	return format.Size(bytes)
}

func (d *disk) imageRow(i *containerv1.Image, now time.Time) diskImage {
	shared := d.sizes.GetSharedLayers()[i.GetId()]
	r := diskImage{Containers: strconv.FormatInt(i.GetContainers(), 10), CreatedSince: "N/A",
		ID: format.Digest(i.GetId()), Repository: "<none>", Tag: "<none>", Size: format.Size(i.GetSize()),
		SharedSize: format.TotalSize(shared), UniqueSize: format.TotalSize(max(i.GetSize()-shared, 0))}
	if i.GetCreatedAt() != nil {
		r.CreatedSince = dockertext.Duration(now.Sub(i.GetCreatedAt().AsTime())) + " ago"
	}
	if tags := i.GetTags(); len(tags) > 0 {
		at := strings.LastIndexByte(tags[0], ':')
		r.Repository, r.Tag = tags[0][:max(at, 0)], tags[0][at+1:]
	}
	return r
}

func (d *disk) containerRow(c *containerv1.Container, now time.Time) diskContainer {
	volumes := 0
	for _, m := range c.GetConfig().GetMounts() {
		if m.GetType() == containerv1.MountType_MOUNT_TYPE_VOLUME {
			volumes++
		}
	}
	command, status := ps.Cells(c, now)
	return diskContainer{Command: command, ID: id.Short(c.GetId()), Image: c.GetConfig().GetImage(),
		LocalVolumes: strconv.Itoa(volumes), Names: c.GetConfig().GetName(),
		RunningFor: dockertext.Duration(now.Sub(c.GetCreatedAt().AsTime())) + " ago",
		Size:       sizeText(d.sizes.GetContainers()[c.GetId()]), Status: status}
}

func (d *disk) printDetails(c *cli.CLI, text string) error {
	all := d.details(c.Now())
	if text != format.Table {
		return format.Print(c.Screen(), text, "", diskDetails{}, []diskDetails{all})
	}

	c.Println("Images space usage:\n")
	err := format.Print(c.Screen(), text, "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t"+
		"{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
		diskImage{"CONTAINERS", "CREATED", "IMAGE ID", "REPOSITORY", "SHARED SIZE", "SIZE", "TAG", "UNIQUE SIZE"},
		all.Images)
	if err != nil {
		return err
	}

	c.Println("\nContainers space usage:\n")
	err = format.Print(c.Screen(), text, "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t"+
		"{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
		diskContainer{"COMMAND", "CONTAINER ID", "IMAGE", "LOCAL VOLUMES", "NAMES", "CREATED", "SIZE", "STATUS"},
		all.Containers)
	if err != nil {
		return err
	}

	c.Println("\nLocal Volumes space usage:\n")
	err = format.Print(c.Screen(), text, "{{.Name}}\t{{.Links}}\t{{.Size}}",
		diskVolume{"LINKS", "VOLUME NAME", "SIZE"}, all.Volumes)
	if err != nil {
		return err
	}

	c.Println("\nBuild cache usage: 0B\n")
	return format.Print(c.Screen(), text, "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t"+
		"{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
		diskCache{"CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"}, all.BuildCache)
}
