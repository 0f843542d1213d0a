package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/imageref"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newPush(c *cli.CLI) *cobra.Command {
	req := &containerv1.PushImageRequest{}
	var quiet bool
	cmd := &cobra.Command{
		Use:   "push [OPTIONS] NAME[:TAG]",
		Short: "Push an image to a registry",
		Long: `Push an image to the registry in its name. Layers that the registry has are not uploaded. If several
platforms of the name are stored, all are pushed, as one index.`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Reference = args[0]
			return push(cmd.Context(), c, req, quiet)
		},
	}
	cmd.Flags().BoolVarP(&req.AllTags, "all-tags", "a", false, "Push all tags of the repository")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress progress output")
	cmd.Flags().StringVar(&req.Platform, "platform", "", "Image platform: OS/ARCH[/VARIANT] (default: all)")
	return cmd
}

func push(ctx context.Context, c *cli.CLI, req *containerv1.PushImageRequest, quiet bool) error {
	ref := imageref.Parse(req.GetReference())
	switch {
	case req.GetAllTags() && (ref.Tag != "" || ref.Digest != ""):
		return errors.New("tag can't be used with --all-tags/-a")
	case !req.GetAllTags() && ref.Tag == "" && ref.Digest == "" && !quiet:
		c.Println("Using default tag: latest")
	}
	if !quiet {
		c.Println("The push refers to repository [" + ref.Name() + "]")
	}

	cl, err := c.Client()
	if err != nil {
		return err
	}
	req.Credentials = c.Credentials(ctx, req.GetReference(), func() bool { return true })

	progress := c.Progress(quiet)
	defer progress.Finish()
	err = cl.Push(ctx, req, progress.Show, func(p *containerv1.PushedImage) {
		progress.Finish()
		tag := imageref.Parse(p.GetReference()).Tag
		if !quiet {
			c.Println(fmt.Sprintf("%s: digest: %s size: %d", tag, p.GetDigest(), p.GetSize()))
		}
	})
	if err == nil && quiet {
		c.Println(ref.String())
	}

	return err
}
