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
	var quiet, all bool
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Pull an image, or all tags of a repository, from a registry",
		Args:  cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return pull(cmd.Context(), c, &containerv1.PullImageRequest{Reference: args[0], Platform: platform,
				AllTags: all}, quiet)
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "Image platform: OS/ARCH[/VARIANT] (default: the host's)")
	cmd.Flags().BoolVarP(&all, "all-tags", "a", false, "Pull all tags of the repository")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress progress output")
	return cmd
}

func pull(ctx context.Context, c *cli.CLI, req *containerv1.PullImageRequest, quiet bool) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	progress := c.Progress(quiet)
	defer progress.Finish()
	req.Credentials = c.Credentials(ctx, req.GetReference(), func() bool { return true })
	if _, err := cl.Pull(ctx, req, progress.Show); err != nil {
		return err
	}

	progress.Finish()
	name := imageref.Parse(req.GetReference())
	if req.GetAllTags() {
		c.Println(name.Name())
		return nil
	}
	c.Println(name.String())
	return nil
}
