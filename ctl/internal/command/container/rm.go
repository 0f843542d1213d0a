package container

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newRemove(c *cli.CLI, name string, aliases ...string) *cobra.Command {
	var force, volumes bool
	cmd := &cobra.Command{
		Use:     name + " [OPTIONS] CONTAINER [CONTAINER...]",
		Aliases: aliases,
		Short:   "Remove one or more containers",
		Args:    cli.MinArgs(1),
		RunE: each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
			_, err := cl.Containers.RemoveContainer(ctx,
				&containerv1.RemoveContainerRequest{Reference: reference, Force: force, Volumes: volumes})
			if force && fault.Is(err, fault.NotFound) {
				err = &cli.IgnoredError{Err: err} // as in Docker, a missing container is not a failure
			}
			return reference, err
		}),
	}
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "Remove its anonymous volumes too")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Kill running containers first and ignore missing ones")
	return cmd
}
