package image

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// NewCommit returns the command `fairlead commit`.
func NewCommit(c *cli.CLI) *cobra.Command {
	req := &containerv1.CommitContainerRequest{}
	var pause bool
	cmd := &cobra.Command{
		Use:   "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short: "Create an image from a container's changes",
		Args:  cli.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			if req.Container = args[0]; len(args) == 2 {
				req.Reference = args[1]
			}
			req.NoPause = req.GetNoPause() || !pause
			res, err := cl.Images.CommitContainer(cmd.Context(), req)
			if err != nil {
				return err
			}
			c.Println(res.GetImage().GetId())
			return nil
		},
	}
	cmd.Flags().StringVarP(&req.Author, "author", "a", "", `Author (for example "Ann Lee <ann@example.com>")`)
	cmd.Flags().StringArrayVarP(&req.Changes, "change", "c", nil,
		"Apply a Dockerfile instruction (CMD, ENV, EXPOSE, …)")
	cmd.Flags().StringVarP(&req.Message, "message", "m", "", "Commit message, the comment in the history")
	cmd.Flags().BoolVarP(&pause, "pause", "p", true, "Pause the container during the commit")
	cmd.Flags().BoolVar(&req.NoPause, "no-pause", false, "Do not pause the container during the commit")
	return cmd
}
