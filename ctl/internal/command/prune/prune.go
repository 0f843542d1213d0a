// Package prune holds the commands that remove stopped containers, and all unused objects. The groups
// container and system register them. Images, networks and volumes have prune commands of their own,
// in their packages.
package prune

import (
	"bufio"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/command/image"
	"github.com/fairlead/fairlead/ctl/internal/command/network"
	"github.com/fairlead/fairlead/ctl/internal/command/volume"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/ctl/internal/prunefilter"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Containers returns the command `fairlead container prune`.
func Containers(c *cli.CLI) *cobra.Command {
	var force bool
	var filters []string
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all stopped containers",
		Long: `Remove all stopped containers: those that were created and not started, and those that exited. Their
volumes are kept.

Filters must all match. Keys: until=TIME (created before an age or a time), label=KEY[=VALUE],
label!=KEY[=VALUE].`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := prunefilter.Parse(filters, c.Now())
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			if !force && !confirm(c, "WARNING! This will remove all stopped containers.") {
				return canceled(cmd)
			}

			reclaimed, err := containers(cmd.Context(), c, f)
			if err != nil {
				return err
			}
			c.Println("Total reclaimed space: " + format.TotalSize(reclaimed))
			return nil
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Skip the confirmation prompt")
	cmd.Flags().StringArrayVar(&filters, "filter", nil, "Filter: until=TIME, label=KEY, label!=KEY")
	return cmd
}

// confirm asks the user for confirmation.
func confirm(c *cli.CLI, warning string) bool {
	c.Printf("%s\nAre you sure you want to continue? [y/N] ", warning)
	answer, _ := bufio.NewReader(c.In).ReadString('\n') // an empty answer means no
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}

// canceled returns the error of a command that the user did not confirm.
func canceled(cmd *cobra.Command) error {
	name := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	return &cli.ExitError{Code: cli.ExitFailure, Err: cli.Verbatim(name + " has been cancelled")}
}

// containers removes the stopped containers that match and prints their IDs.
func containers(ctx context.Context, c *cli.CLI, f prunefilter.Filter) (reclaimed int64, err error) {
	cl, err := c.Client()
	if err != nil {
		return 0, err
	}
	res, err := cl.Containers.PruneContainers(ctx, &containerv1.PruneContainersRequest{Until: f.Until, Labels: f.Labels,
		ExcludeLabels: f.Exclude})
	if err != nil {
		return 0, err
	}
	if gone := res.GetDeleted(); len(gone) > 0 {
		c.Println("Deleted Containers:\n" + strings.Join(gone, "\n") + "\n")
	}
	return res.GetReclaimed(), nil
}

type systemOptions struct {
	all, volumes, force bool
	filters             []string
}

// System returns the command `fairlead system prune`.
func System(c *cli.CLI) *cobra.Command {
	var o systemOptions
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove unused data",
		Long: `Remove stopped containers, then the networks and the images without a tag that no container uses.
With -a all images that no container uses, with --volumes also the anonymous volumes.

Filters must all match. Keys: until=TIME (created before an age or a time; not with --volumes),
label=KEY[=VALUE], label!=KEY[=VALUE].`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := o.parse(c)
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			if !o.force && !confirm(c, o.warning()) {
				return canceled(cmd)
			}
			return o.run(cmd.Context(), c, f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all", "a", false, "Remove all unused images, not only those without a tag")
	flags.BoolVar(&o.volumes, "volumes", false, "Remove anonymous volumes too")
	flags.BoolVarP(&o.force, "force", "f", false, "Skip the confirmation prompt")
	flags.StringArrayVar(&o.filters, "filter", nil, "Filter: until=TIME, label=KEY, label!=KEY")
	return cmd
}

func (o *systemOptions) parse(c *cli.CLI) (prunefilter.Filter, error) {
	f, err := prunefilter.Parse(o.filters, c.Now())
	if err == nil && o.volumes && f.Until != nil {
		err = fault.Invalidf("system prune", "filter", `The "until" filter is not supported with "--volumes"`)
	}
	return f, err
}

// warning returns Docker's text. Fairlead has no build cache.
func (o *systemOptions) warning() string {
	lines := []string{"WARNING! This will remove:", "  - all stopped containers",
		"  - all networks not used by at least one container"}
	if o.volumes {
		lines = append(lines, "  - all anonymous volumes not used by at least one container")
	}
	if o.all {
		lines = append(lines, "  - all images without at least one container associated to them")
	} else {
		lines = append(lines, "  - all dangling images")
	}

	if len(o.filters) > 0 {
		lines = append(lines, "", "  Items to be pruned will be filtered with:")
		for _, spec := range slices.Sorted(slices.Values(o.filters)) {
			lines = append(lines, "  - "+spec)
		}
	}
	return strings.Join(append(lines, ""), "\n")
}

// run removes containers first, as they use the other objects.
func (o *systemOptions) run(ctx context.Context, c *cli.CLI, f prunefilter.Filter) error {
	total, err := containers(ctx, c, f)
	if err != nil {
		return err
	}
	if err := network.Prune(ctx, c, &networkv1.PruneNetworksRequest{Until: f.Until, Labels: f.Labels,
		ExcludeLabels: f.Exclude}); err != nil {
		return err
	}

	if o.volumes {
		reclaimed, err := volume.Prune(ctx, c, &containerv1.PruneVolumesRequest{Labels: f.Labels,
			ExcludeLabels: f.Exclude})
		if err != nil {
			return err
		}
		total += reclaimed
	}

	reclaimed, err := image.Prune(ctx, c, &containerv1.PruneImagesRequest{All: o.all, Filters: o.filters})
	if err != nil {
		return err
	}
	c.Println("Total reclaimed space: " + format.TotalSize(total+reclaimed))
	return nil
}
