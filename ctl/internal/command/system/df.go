package system

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// diskRow is a row of the summary, with Docker's fields.
type diskRow struct {
	Active      string
	Reclaimable string
	Size        string
	TotalCount  string
	Type        string
}

const diskColumns = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"

// DiskRow returns an empty row of `system df`, for the completion of templates.
func DiskRow() any { return diskRow{} }

func newDiskUsage(c *cli.CLI) *cobra.Command {
	var verbose bool
	var text string
	cmd := &cobra.Command{
		Use:   "df [OPTIONS]",
		Short: "Show the disk usage of images, containers and volumes",
		Long: `Show the disk usage of images, containers and volumes.

Layers that images share are counted once. The size of a container is that of its writable layer.
Reclaimable is what no container uses; of containers, what those that do not run occupy.

Template fields: .Type .TotalCount .Active .Size .Reclaimable; with -v .Images .Containers .Volumes
.BuildCache, which are lists. "table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := readDisk(cmd.Context(), c)
			switch {
			case err != nil:
				return err
			case verbose:
				return d.printDetails(c, text)
			}
			return d.printSummary(c, text)
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show each image, container and volume")
	cmd.Flags().StringVar(&text, "format", format.Table, "Output format: table, json or a Go template")
	return cmd
}

// disk holds all objects that occupy the disk, with their sizes.
type disk struct {
	sizes      *containerv1.GetDiskUsageResponse
	images     []*containerv1.Image
	containers []*containerv1.Container
	volumes    []*containerv1.Volume
}

func readDisk(ctx context.Context, c *cli.CLI) (*disk, error) {
	cl, err := c.Client()
	if err != nil {
		return nil, err
	}
	d := &disk{}
	if d.sizes, err = cl.Containers.GetDiskUsage(ctx, &containerv1.GetDiskUsageRequest{}); err != nil {
		return nil, err
	}
	return d, d.list(ctx, cl)
}

func (d *disk) list(ctx context.Context, cl *client.Client) (err error) {
	if d.images, err = cl.ListImages(ctx); err != nil {
		return err
	}
	if d.containers, err = cl.ListContainers(ctx, true); err != nil {
		return err
	}
	d.volumes, err = cl.ListVolumes(ctx, false)
	return err
}

// total sums up the sizes of one kind of object.
type total struct {
	name              string
	count, active     int
	size, reclaimable int64
}

// add adds an object. An unknown size is negative.
func (t *total) add(size int64, active bool) {
	t.count++
	t.size += max(size, 0)
	if active {
		t.active++
	} else {
		t.reclaimable += max(size, 0)
	}
}

func (t *total) row() diskRow {
	r := diskRow{Type: t.name, TotalCount: strconv.Itoa(t.count), Active: strconv.Itoa(t.active),
		Size: format.TotalSize(t.size), Reclaimable: format.TotalSize(t.reclaimable)}
	if t.size > 0 {
		r.Reclaimable += fmt.Sprintf(" (%d%%)", t.reclaimable*100/t.size)
	}
	return r
}

func (d *disk) printSummary(c *cli.CLI, text string) error {
	images, containers, volumes := total{name: "Images"}, total{name: "Containers"}, total{name: "Local Volumes"}
	for _, i := range d.images {
		images.add(0, i.GetContainers() > 0)
	}
	images.size, images.reclaimable = d.sizes.GetLayers(), d.sizes.GetUnusedLayers()
	for _, ctr := range d.containers {
		containers.add(d.sizes.GetContainers()[ctr.GetId()], inspect.HasProcess(ctr) || isRestarting(ctr))
	}
	for _, v := range d.volumes {
		volumes.add(d.sizes.GetVolumes()[v.GetName()], len(v.GetContainers()) > 0)
	}
	cache := total{name: "Build Cache"} // Fairlead builds no images

	return format.Print(c.Screen(), text, diskColumns, diskRow{Type: "TYPE", TotalCount: "TOTAL", Active: "ACTIVE",
		Size: "SIZE", Reclaimable: "RECLAIMABLE"},
		[]diskRow{images.row(), containers.row(), volumes.row(), cache.row()})
}

func isRestarting(c *containerv1.Container) bool {
	return c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RESTARTING
}
