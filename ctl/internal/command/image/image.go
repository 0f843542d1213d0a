// Package image holds the image commands.
package image

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Commands returns the image commands of the top level.
func Commands() []cli.Command {
	list := func(c *cli.CLI) *cobra.Command { return newList(c, "images") }
	remove := func(c *cli.CLI) *cobra.Command { return newRemove(c, "rmi") }
	return []cli.Command{
		{Name: "pull", New: newPull}, {Name: "push", New: newPush}, {Name: "save", New: newSave},
		{Name: "load", New: newLoad}, {Name: "import", New: newImport}, {Name: "images", New: list},
		{Name: "history", New: newHistory}, {Name: "rmi", New: remove}, {Name: "tag", New: newTag},
		{Name: "search", New: newSearch},
	}
}

// Group returns the command `fairlead image`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("image", "Manage images",
		newPull(c), newPush(c), newSave(c), newLoad(c), newImport(c), newList(c, "ls", "list"), newHistory(c),
		newPrune(c), newRemove(c, "rm", "remove", "rmi"), newTag(c), c.InspectCommand("image", Document))
}

// Document returns the inspect document of an image.
func Document(ctx context.Context, cl *client.Client, reference string) (any, error) {
	res, err := cl.Images.GetImage(ctx, &containerv1.GetImageRequest{Reference: reference})
	if err != nil {
		return nil, err
	}
	return inspect.FromImage(res.GetImage()), nil
}
