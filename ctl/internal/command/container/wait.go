package container

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newWait(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "wait CONTAINER [CONTAINER...]",
		Short: "Wait for containers to exit and print their exit codes",
		Args:  cli.MinArgs(1),
		RunE: each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
			res, err := cl.Containers.WaitContainer(ctx, &containerv1.WaitContainerRequest{Reference: reference})
			return strconv.Itoa(int(res.GetExitCode())), err
		}),
	}
}
