package system

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/command/container"
	"github.com/fairlead/fairlead/ctl/internal/command/image"
	"github.com/fairlead/fairlead/ctl/internal/command/network"
	"github.com/fairlead/fairlead/ctl/internal/command/volume"
	"github.com/fairlead/fairlead/proto/fault"
)

// kind is a kind of object with an inspect document.
type kind struct {
	name string
	get  func(context.Context, *client.Client, string) (any, error)
}

// kinds returns the kinds in search order.
func kinds() []kind {
	return []kind{{"container", container.Document}, {"image", image.Document}, {"network", network.Document},
		{"volume", volume.Document}}
}

func newInspect(c *cli.CLI) *cobra.Command {
	var only, text string
	var size bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NAME|ID [NAME|ID...]",
		Short: "Show details of containers, images, networks or volumes",
		Args:  cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted, err := wantedKinds(only)
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			if size && wanted[0].name == "container" {
				wanted[0].get = container.SizedDocument
			}
			cl, err := c.Client()
			if err != nil {
				return err
			}
			return c.Inspect(cmd.Context(), args, text, func(ctx context.Context, name string) (any, error) {
				return find(ctx, cl, wanted, name)
			})
		},
	}
	cmd.Flags().StringVar(&only, "type", "", "Only one kind: container, image, network or volume")
	cmd.Flags().BoolVarP(&size, "size", "s", false, "Show the sizes of containers")
	cmd.Flags().StringVarP(&text, "format", "f", "", "Output format: json or a Go template")
	return cmd
}

func wantedKinds(only string) ([]kind, error) {
	if only == "" {
		return kinds(), nil
	}
	for _, k := range kinds() {
		if k.name == only {
			return []kind{k}, nil
		}
	}
	return nil, fmt.Errorf("%q is not a valid value for --type: container, image, network or volume", only)
}

func find(ctx context.Context, cl *client.Client, wanted []kind, name string) (any, error) {
	if name == "" {
		return nil, fault.Invalidf("object", "name",
			"name or ID is empty: add a container, an image, a network or a volume")
	}
	for _, k := range wanted {
		d, err := k.get(ctx, cl, name)
		// A name that is invalid for a kind does not exist in it.
		if err == nil || len(wanted) == 1 || !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid) {
			return d, err
		}
	}
	return nil, fault.NotFoundf("object "+name,
		"No such object: no container, image, network or volume has this name or ID")
}
