// Package container holds the container commands. Each has an options struct, its flags, and a
// function that sends the request and prints the response.
package container

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/command/files"
	"github.com/fairlead/fairlead/ctl/internal/command/image"
	"github.com/fairlead/fairlead/ctl/internal/command/prune"
	"github.com/fairlead/fairlead/ctl/internal/command/ps"
	"github.com/fairlead/fairlead/ctl/internal/command/usage"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Commands returns the container commands of the top level.
func Commands() []cli.Command {
	list := func(c *cli.CLI) *cobra.Command { return ps.New(c, "ps") }
	remove := func(c *cli.CLI) *cobra.Command { return newRemove(c, "rm") }
	return []cli.Command{
		{Name: "run", New: newRun}, {Name: "create", New: newCreate}, {Name: "start", New: newStart},
		{Name: "stop", New: newStop}, {Name: "restart", New: newRestart}, {Name: "pause", New: newPause},
		{Name: "unpause", New: newUnpause}, {Name: "update", New: newUpdate}, {Name: "kill", New: newKill},
		{Name: "rename", New: newRename}, {Name: "rm", New: remove}, {Name: "ps", New: list},
		{Name: "logs", New: newLogs}, {Name: "exec", New: newExec}, {Name: "attach", New: newAttach},
		{Name: "top", New: usage.Top}, {Name: "stats", New: usage.Stats}, {Name: "port", New: newPort},
		{Name: "explain", New: newExplain}, {Name: "publish", New: newPublish},
		{Name: "unpublish", New: newUnpublish}, {Name: "wait", New: newWait}, {Name: "diff", New: files.Diff},
		{Name: "export", New: files.Export}, {Name: "cp", New: files.Copy}, {Name: "commit", New: image.NewCommit},
	}
}

// Group returns the command `fairlead container`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("container", "Manage containers",
		newRun(c), newCreate(c), newStart(c), newStop(c), newRestart(c), newPause(c), newUnpause(c), newUpdate(c),
		newKill(c), newRename(c), newRemove(c, "rm", "remove"), ps.New(c, "ls", "ps", "list"),
		usage.Top(c), usage.Stats(c),
		newLogs(c), newExec(c), newAttach(c), newPort(c), newExplain(c), newPublish(c), newUnpublish(c), newWait(c),
		files.Diff(c), files.Export(c), files.Copy(c), image.NewCommit(c),
		prune.Containers(c), newInspect(c))
}

// newInspect returns the command inspect of the group.
func newInspect(c *cli.CLI) *cobra.Command {
	var size bool
	cmd := c.InspectCommand("container", func(ctx context.Context, cl *client.Client, reference string) (any, error) {
		return document(ctx, cl, &containerv1.GetContainerRequest{Reference: reference, Size: size})
	})
	cmd.Flags().BoolVarP(&size, "size", "s", false, "Show the sizes of the writable layer and of all files")
	return cmd
}

// get requests one container from the agent.
func get(ctx context.Context, cl *client.Client, reference string) (*containerv1.Container, error) {
	res, err := cl.Containers.GetContainer(ctx, &containerv1.GetContainerRequest{Reference: reference})
	return res.GetContainer(), err
}

// Document returns the inspect document of a container. Without its image, the fields of the image
// are empty.
func Document(ctx context.Context, cl *client.Client, reference string) (any, error) {
	return document(ctx, cl, &containerv1.GetContainerRequest{Reference: reference})
}

// SizedDocument is like Document, with the sizes of the container.
func SizedDocument(ctx context.Context, cl *client.Client, reference string) (any, error) {
	return document(ctx, cl, &containerv1.GetContainerRequest{Reference: reference, Size: true})
}

func document(ctx context.Context, cl *client.Client, req *containerv1.GetContainerRequest) (any, error) {
	res, err := cl.Containers.GetContainer(ctx, req)
	if err != nil {
		return nil, err
	}
	c := res.GetContainer()
	img, err := cl.Images.GetImage(ctx, &containerv1.GetImageRequest{Reference: c.GetImageId()})
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return inspect.FromContainer(c, img.GetImage()), nil
}

// each returns a RunE function that calls do for each argument concurrently.
func each(c *cli.CLI, do func(ctx context.Context, cl *client.Client, reference string) (string,
	error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cl, err := c.Client()
		if err != nil {
			return err
		}
		return c.Each(cmd.Context(), args, func(ctx context.Context, reference string) (string, error) {
			return do(ctx, cl, reference)
		})
	}
}
