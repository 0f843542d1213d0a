package volume

import (
	"context"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type listOptions struct {
	quiet   bool
	format  string
	filters []string
}

// row is a row of the list, with Docker's fields.
type row struct {
	Availability string
	Driver       string
	Group        string
	Labels       string
	Links        string
	Mountpoint   string
	Name         string
	Scope        string
	Size         string
	Status       string
	labels       map[string]string
}

// Label returns the value of a label, for templates.
func (r row) Label(name string) string { return r.labels[name] }

const columns = "{{.Driver}}\t{{.Name}}"

// header returns the titles of the columns.
func header() row {
	return row{"AVAILABILITY", "DRIVER", "GROUP", "LABELS", "LINKS", "MOUNTPOINT", "VOLUME NAME", "SCOPE", "SIZE",
		"STATUS", nil}
}

// Row returns an empty row, for the completion of templates.
func Row() any { return row{} }

func newList(c *cli.CLI) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List volumes",
		Long: `List volumes.

Filters with the same key are alternatives (labels must all match); different keys must all match.
Keys: name=TEXT, driver=NAME, label=KEY[=VALUE], dangling=true|false (no container uses it).

Template fields: .Name .Driver .Scope .Mountpoint .Labels .Label "KEY" .Links .Size.
"table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cli.FilterError(cmd, o.run(cmd.Context(), c))
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Print only names")
	f.StringVar(&o.format, "format", format.Table, "Output format: table, json or a Go template")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Filter: KEY=VALUE")
	return cmd
}

func (o *listOptions) run(ctx context.Context, c *cli.CLI) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	list, err := cl.SelectVolumes(ctx, &containerv1.ListVolumesRequest{Filters: o.filters})
	if err != nil {
		return err
	}

	rows := []row{}
	slices.SortStableFunc(list,
		func(a, b *containerv1.Volume) int { return format.NaturalCompare(a.GetName(), b.GetName()) })
	for _, v := range list {
		rows = append(rows, rowOf(v))
	}

	text := o.format
	if o.quiet {
		text = "{{.Name}}"
	}
	return format.Print(c.Screen(), text, columns, header(), rows)
}

func rowOf(v *containerv1.Volume) row {
	r := row{Availability: "N/A", Driver: v.GetDriver(), Group: "N/A", Labels: labelList(v.GetLabels()), Links: "N/A",
		Mountpoint: v.GetMountpoint(), Name: v.GetName(), Scope: "local", Size: "N/A", Status: "N/A",
		labels: v.GetLabels()}
	if v.Size != nil {
		r.Size, r.Links = format.Size(v.GetSize()), strconv.Itoa(len(v.GetContainers()))
	}
	return r
}
