package image

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newRemove(c *cli.CLI, name string, aliases ...string) *cobra.Command {
	var force bool
	var platform string
	cmd := &cobra.Command{
		Use:     name + " [OPTIONS] IMAGE [IMAGE...]",
		Aliases: aliases,
		Short:   "Remove one or more images",
		Args:    cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return remove(cmd.Context(), c, args, platform, force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Remove all tags, even if stopped containers use the image")
	cmd.Flags().Bool("no-prune", false, "Accepted for Docker compatibility; no effect")
	cmd.Flags().StringVar(&platform, "platform", "", "Remove only this platform: OS/ARCH[/VARIANT]")
	return cmd
}

// remove removes images sequentially, because two names can refer to one image.
func remove(ctx context.Context, c *cli.CLI, names []string, platform string, force bool) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	failed := false
	for _, name := range names {
		res, err := cl.Images.RemoveImage(ctx, &containerv1.RemoveImageRequest{Reference: name, Force: force,
			Platform: platform})
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// As in Docker, a forced removal of a missing image is not a failure.
			failed = failed || !force || !fault.Is(err, fault.NotFound)
			c.PrintError(err)
			continue
		}
		c.Printf("%s", removed(res))
	}

	if failed {
		return cli.ExitWithCode(cli.ExitFailure)
	}

	return nil
}

func removed(res *containerv1.RemoveImageResponse) string {
	var out strings.Builder
	for _, tag := range res.GetUntagged() {
		out.WriteString("Untagged: " + tag + "\n")
	}
	for _, digest := range res.GetDeleted() {
		out.WriteString("Deleted: " + digest + "\n")
	}
	return out.String()
}
