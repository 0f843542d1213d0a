// Package volume holds the volume commands.
package volume

import (
	"bufio"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Group returns the command `fairlead volume`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("volume", "Manage volumes", newCreate(c), newList(c), newPrune(c), newRemove(c),
		c.InspectCommand("volume", Document))
}

// Document returns the inspect document of a volume.
func Document(ctx context.Context, cl *client.Client, name string) (any, error) {
	res, err := cl.Volumes.GetVolume(ctx, &containerv1.GetVolumeRequest{Name: name})
	if err != nil {
		return nil, err
	}
	return inspect.FromVolume(res.GetVolume()), nil
}

type createOptions struct {
	name, driver    string
	labels, options []string
}

func newCreate(c *cli.CLI) *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] [VOLUME]",
		Short: "Create a volume",
		Long: `Create a volume. Without a name it is anonymous: volume prune removes it once it is not used.

Options of the driver local, as for mount(8); it is mounted while a container uses the volume:
  type      none, tmpfs, nfs, or another file system
  device    the device, directory (type none with o=bind) or export (:/path with type nfs)
  o         mount options`,
		Example: `  $ fairlead volume create data
  $ fairlead volume create -o type=none -o o=bind -o device=/srv/data data
  $ fairlead volume create -o type=nfs -o o=addr=10.0.0.2,rw -o device=:/export shared`,
		Args: cli.RangeArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && o.name != "" {
				return fault.Invalidf("volume create", "name",
					"conflicting options: cannot specify a volume-name through both --name and as a positional arg")
			}
			if len(args) > 0 {
				o.name = args[0]
			}
			return o.run(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "Volume name (the argument is preferred)")
	f.StringVarP(&o.driver, "driver", "d", "local", "Volume driver")
	f.StringArrayVar(&o.labels, "label", nil, "Set a label: KEY[=VALUE]")
	f.StringArrayVarP(&o.options, "opt", "o", nil, "Driver option: KEY=VALUE (see above)")
	return cmd
}

func (o *createOptions) run(ctx context.Context, c *cli.CLI) error {
	labels, err := networkspec.ParseKeyValues("label", o.labels)
	if err != nil {
		return err
	}
	options, err := networkspec.ParseKeyValues("opt", o.options)
	if err != nil {
		return err
	}
	cl, err := c.Client()
	if err != nil {
		return err
	}

	res, err := cl.Volumes.CreateVolume(ctx,
		&containerv1.CreateVolumeRequest{Name: o.name, Driver: o.driver, Options: options, Labels: labels})
	if err != nil {
		return err
	}
	c.Println(res.GetVolume().GetName())
	return nil
}

func newRemove(c *cli.CLI) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] VOLUME [VOLUME...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more volumes",
		Long:    "Remove one or more volumes with their data. A volume that a container uses is not removed.",
		Args:    cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			return c.Each(cmd.Context(), names, func(ctx context.Context, name string) (string, error) {
				_, err := cl.Volumes.RemoveVolume(ctx, &containerv1.RemoveVolumeRequest{Name: name})
				if force && fault.Is(err, fault.NotFound) {
					err = nil
				}
				return name, err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Ignore missing volumes")
	return cmd
}

type pruneOptions struct {
	force, all bool
	filters    []string
}

func newPrune(c *cli.CLI) *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove unused volumes",
		Long: `Remove the anonymous volumes that no container uses, running or not; with --all the named ones too.

Filters must all match. Keys: label=KEY[=VALUE], label!=KEY[=VALUE], all=true (as --all).`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := o.request()
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			if !o.force && !confirm(c, req.GetAll()) {
				return &cli.ExitError{Code: cli.ExitFailure, Err: cli.Verbatim("operation canceled")}
			}

			reclaimed, err := Prune(cmd.Context(), c, req)
			if err != nil {
				return err
			}
			c.Println("Total reclaimed space: " + format.TotalSize(reclaimed))
			return nil
		},
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Skip the confirmation prompt")
	cmd.Flags().BoolVarP(&o.all, "all", "a", false, "Remove named volumes too")
	cmd.Flags().StringArrayVar(&o.filters, "filter", nil, "Filter: label=KEY, label!=KEY")
	return cmd
}

func (o *pruneOptions) request() (*containerv1.PruneVolumesRequest, error) {
	req := &containerv1.PruneVolumesRequest{All: o.all}
	for _, spec := range o.filters {
		kind, value, ok := strings.Cut(spec, "=")
		switch {
		case !ok:
			return nil, fault.Invalidf("--filter "+spec, "filter", "bad format of filter (expected name=value)")
		case kind == "label":
			req.Labels = append(req.Labels, value)
		case kind == "label!":
			req.ExcludeLabels = append(req.ExcludeLabels, value)
		case kind == "all" && (value == "true" || value == "1"):
			req.All = true
		case kind == "all" && (value == "false" || value == "0"):
		default:
			return nil, fault.Invalidf("--filter "+spec, "filter", "invalid filter '%s'; use label, label! or all",
				kind)
		}
	}
	return req, nil
}

// confirm asks the user for confirmation.
func confirm(c *cli.CLI, all bool) bool {
	which := "anonymous local volumes"
	if all {
		which = "local volumes"
	}
	c.Printf("WARNING! This will remove %s not used by at least one container.\nAre you sure you want to continue? "+
		"[y/N] ", which)
	answer, _ := bufio.NewReader(c.In).ReadString('\n') // an empty answer means no
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}

// Prune removes unused volumes, prints their names and returns the freed bytes.
func Prune(ctx context.Context, c *cli.CLI, req *containerv1.PruneVolumesRequest) (reclaimed int64, err error) {
	cl, err := c.Client()
	if err != nil {
		return 0, err
	}
	res, err := cl.Volumes.PruneVolumes(ctx, req)
	if err != nil {
		return 0, err
	}
	if gone := res.GetDeleted(); len(gone) > 0 {
		c.Println("Deleted Volumes:\n" + strings.Join(gone, "\n") + "\n")
	}
	return res.GetReclaimed(), nil
}

// labelList returns labels as KEY=VALUE, sorted.
func labelList(labels map[string]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, key+"="+labels[key])
	}
	return strings.Join(out, ",")
}
