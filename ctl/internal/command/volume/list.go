package volume

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/fault"
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
			wanted, err := parseFilter(o.filters)
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			return o.run(cmd.Context(), c, wanted)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Print only names")
	f.StringVar(&o.format, "format", format.Table, "Output format: table, json or a Go template")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Filter: KEY=VALUE")
	return cmd
}

func (o *listOptions) run(ctx context.Context, c *cli.CLI, wanted filter) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	list, err := cl.ListVolumes(ctx, false)
	if err != nil {
		return err
	}

	rows := []row{}
	slices.SortStableFunc(list,
		func(a, b *containerv1.Volume) int { return format.NaturalCompare(a.GetName(), b.GetName()) })
	for _, v := range list {
		if wanted.fits(v) {
			rows = append(rows, rowOf(v))
		}
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

// filter holds the values for each key.
type filter map[string][]string

// filterKinds maps each key to a function that reports whether a volume matches a value.
var filterKinds = map[string]func(v *containerv1.Volume, value string) bool{
	"name":   func(v *containerv1.Volume, value string) bool { return strings.Contains(v.GetName(), value) },
	"driver": func(v *containerv1.Volume, value string) bool { return v.GetDriver() == value },
	"label": func(v *containerv1.Volume, value string) bool {
		key, want, valued := strings.Cut(value, "=")
		got, ok := v.GetLabels()[key]
		return ok && (!valued || got == want)
	},
	"dangling": func(v *containerv1.Volume, value string) bool {
		return (len(v.GetContainers()) == 0) == (value == "true" || value == "1")
	},
}

func parseFilter(specs []string) (filter, error) {
	wanted := filter{}
	for _, spec := range specs {
		kind, value, ok := strings.Cut(spec, "=")
		refuse := func(format string, args ...any) error {
			return fault.Invalidf("--filter "+spec, "filter", format, args...)
		}
		switch _, known := filterKinds[kind]; {
		case !ok:
			return nil, refuse("bad format of filter (expected name=value)")
		case !known:
			return nil, refuse("invalid filter '%s'; use name, driver, label or dangling", kind)
		case kind == "dangling" && !slices.Contains([]string{"true", "1", "false", "0"}, value):
			return nil, refuse("invalid filter 'dangling=%s'; use true or false", value)
		}
		wanted[kind] = append(wanted[kind], value)
	}
	return wanted, nil
}

// fits reports whether a volume matches.
func (f filter) fits(v *containerv1.Volume) bool {
	for kind, values := range f {
		fits := func(value string) bool { return filterKinds[kind](v, value) }
		if kind == "label" && slices.ContainsFunc(values, func(s string) bool { return !fits(s) }) ||
			!slices.ContainsFunc(values, fits) {
			return false
		}
	}
	return true
}
