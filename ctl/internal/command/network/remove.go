package network

import (
	"bufio"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/prunefilter"
	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

func newRemove(c *cli.CLI) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] NETWORK [NETWORK...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more networks",
		Args:    cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			return c.Each(cmd.Context(), args, func(ctx context.Context, reference string) (string, error) {
				_, err := cl.Networks.DeleteNetwork(ctx, &networkv1.DeleteNetworkRequest{Reference: reference})
				if force && fault.Is(err, fault.NotFound) {
					err = &cli.IgnoredError{Err: err}
				}
				return reference, err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Ignore missing networks")
	return cmd
}

type pruneOptions struct {
	force   bool
	filters []string
}

func newPrune(c *cli.CLI) *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all unused networks",
		Long: `Remove all unused networks: those that no running container is connected to.

Filters must all match. Keys: until=DURATION or an RFC 3339 time (created before it),
label=KEY[=VALUE], label!=KEY[=VALUE].`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := prunefilter.Parse(o.filters, c.Now())
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			if !o.force && !confirm(c) {
				return &cli.ExitError{Code: cli.ExitFailure, Err: cli.Verbatim("operation canceled")}
			}
			return Prune(cmd.Context(), c, &networkv1.PruneNetworksRequest{Until: f.Until, Labels: f.Labels,
				ExcludeLabels: f.Exclude})
		},
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Skip the confirmation prompt")
	cmd.Flags().StringArrayVar(&o.filters, "filter", nil, "Filter: until=TIME, label=KEY, label!=KEY")
	return cmd
}

// confirm asks the user for confirmation.
func confirm(c *cli.CLI) bool {
	c.Printf("WARNING! This will remove all custom networks not used by at least one container.\nAre you " +
		"sure you want to continue? [y/N] ")
	answer, _ := bufio.NewReader(c.In).ReadString('\n') // an empty answer means no
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}

// Prune removes unused networks and prints their names.
func Prune(ctx context.Context, c *cli.CLI, req *networkv1.PruneNetworksRequest) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	res, err := cl.Networks.PruneNetworks(ctx, req)
	if err != nil {
		return err
	}

	if gone := res.GetDeleted(); len(gone) > 0 {
		c.Println("Deleted Networks:\n" + strings.Join(gone, "\n") + "\n")
	}

	return nil
}
