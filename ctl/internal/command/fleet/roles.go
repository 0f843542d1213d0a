package fleet

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

func newPromote(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "promote HOST [HOST...]",
		Short: "Make members managers, on a manager",
		Long: `Make members managers, on a manager. A manager keeps the store, admits hosts and commands them.

An odd number of managers votes in the store. With two, the second one only follows the first until there
is a third; with three, the store survives the loss of one of them.`,
		Args: cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			for _, reference := range args {
				req := &fleetv1.PromoteHostRequest{Reference: reference}
				res, err := cl.Fleet.PromoteHost(cmd.Context(), req)
				if err != nil {
					return err
				}
				c.Println("Host " + res.GetHost().GetName() + " is a manager.")
			}
			return nil
		},
	}
}

func newDemote(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "demote HOST [HOST...]",
		Short: "Make managers members, on a manager",
		Args:  cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return demote(cmd.Context(), c, args)
		},
	}
}

func demote(ctx context.Context, c *cli.CLI, references []string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	for _, reference := range references {
		res, err := cl.Fleet.DemoteHost(ctx, &fleetv1.DemoteHostRequest{Reference: reference})
		if err != nil {
			return err
		}
		c.Println("Host " + res.GetHost().GetName() + " is a member.")
	}
	return nil
}
