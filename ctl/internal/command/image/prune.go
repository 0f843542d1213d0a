package image

import (
	"bufio"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newPrune(c *cli.CLI) *cobra.Command {
	var force, all bool
	var filters []string
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove unused images",
		Long: `Remove unused images: those without a tag that no container uses, with -a all that no container
uses. Layers of interrupted pulls are removed too.

Filters must all match. Keys: until=TIME (created before an age or a time), label=KEY[=VALUE],
label!=KEY[=VALUE].`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force && !confirm(c, all) {
				return &cli.ExitError{Code: cli.ExitFailure, Err: cli.Verbatim("image prune has been cancelled")}
			}

			reclaimed, err := Prune(cmd.Context(), c, &containerv1.PruneImagesRequest{All: all, Filters: filters})
			if err != nil {
				return err
			}
			c.Println("Total reclaimed space: " + format.TotalSize(reclaimed))
			return nil
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused images, not only those without a tag")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Skip the confirmation prompt")
	cmd.Flags().StringArrayVar(&filters, "filter", nil, "Filter: until=TIME, label=KEY, label!=KEY")
	return cmd
}

// confirm asks the user for confirmation.
func confirm(c *cli.CLI, all bool) bool {
	what := "all dangling images."
	if all {
		what = "all images without at least one container associated to them."
	}
	c.Printf("WARNING! This will remove %s\nAre you sure you want to continue? [y/N] ", what)
	answer, _ := bufio.NewReader(c.In).ReadString('\n') // an empty answer means no
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}

// Prune removes unused images, prints them and returns the freed bytes.
func Prune(ctx context.Context, c *cli.CLI, req *containerv1.PruneImagesRequest) (reclaimed int64, err error) {
	cl, err := c.Client()
	if err != nil {
		return 0, err
	}
	res, err := cl.Images.PruneImages(ctx, req)
	if err != nil {
		return 0, err
	}

	if len(res.GetUntagged())+len(res.GetDeleted()) > 0 {
		c.Println("Deleted Images:")
		for _, name := range res.GetUntagged() {
			c.Println("untagged: " + name)
		}
		for _, id := range res.GetDeleted() {
			c.Println("deleted: " + id)
		}
		c.Println("")
	}
	return res.GetReclaimed(), nil
}
