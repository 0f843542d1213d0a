package image

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/imageref"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newPull(c *cli.CLI) *cobra.Command {
	var platform string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Pull an image from a registry",
		Args:  cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return pull(cmd.Context(), c, args[0], platform, quiet)
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "Image platform: OS/ARCH[/VARIANT] (default: the host's)")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress progress output")
	return cmd
}

func pull(ctx context.Context, c *cli.CLI, name, platform string, quiet bool) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	progress := c.Progress(quiet)
	defer progress.Finish()
	credentials := c.Credentials(ctx, name, func() bool { return true })
	req := &containerv1.PullImageRequest{Reference: name, Platform: platform, Credentials: credentials}
	if _, err := cl.Pull(ctx, req, progress.Show); err != nil {
		return err
	}

	progress.Finish()
	c.Println(imageref.Parse(name).String())
	return nil
}
