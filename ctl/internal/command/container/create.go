package container

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newCreate(c *cli.CLI) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create a container without starting it",
		Args:  cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.config(c, cmd.Flags(), args)
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitRunFailed, Err: err}
			}
			return o.create(cmd.Context(), c, cfg)
		},
	}
	o.flags(cmd.Flags())
	return cmd
}

func (o *options) create(ctx context.Context, c *cli.CLI, cfg *containerv1.ContainerConfig) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	ids, err := openCIDFile(o.cidFile)
	if err != nil {
		return err
	}
	defer func() { _ = ids.close() }()
	progress := c.Progress(o.quiet)
	defer progress.Finish()
	req := &containerv1.CreateContainerRequest{Config: cfg, Credentials: credentials(ctx, c, cl, cfg), Steps: c.Debug}
	created, err := cl.Create(ctx, req, progress.Show)
	if err != nil {
		return err
	}

	progress.Finish()
	c.Warn(created.GetWarnings()...)
	c.Println(created.GetId())
	return ids.write(created.GetId())
}
