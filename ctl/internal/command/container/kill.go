package container

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newKill(c *cli.CLI) *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:   "kill [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Send a signal to one or more running containers",
		Args:  cli.MinArgs(1),
		RunE: each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
			_, err := cl.Containers.KillContainer(ctx,
				&containerv1.KillContainerRequest{Reference: reference, Signal: signal})
			return reference, err
		}),
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send: name or number (default KILL)")
	return cmd
}
