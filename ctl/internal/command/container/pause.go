package container

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newPause(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "pause CONTAINER [CONTAINER...]",
		Short: "Pause all processes of one or more containers",
		Args:  cli.MinArgs(1),
		RunE: each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
			_, err := cl.Containers.PauseContainer(ctx, &containerv1.PauseContainerRequest{Reference: reference})
			return reference, err
		}),
	}
}

func newUnpause(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "unpause CONTAINER [CONTAINER...]",
		Short: "Unpause all processes of one or more containers",
		Args:  cli.MinArgs(1),
		RunE: each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
			_, err := cl.Containers.UnpauseContainer(ctx, &containerv1.UnpauseContainerRequest{Reference: reference})
			return reference, err
		}),
	}
}
