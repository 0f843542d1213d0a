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
	"github.com/fairlead/fairlead/proto/fault"
)

// kind is a sort of object that has a document.
type kind struct {
	name string
	get  func(context.Context, *client.Client, string) (any, error)
}

// kinds are looked through in this order.
func kinds() []kind {
	return []kind{{"container", container.Document}, {"image", image.Document}, {"network", network.Document}}
}

func newInspect(c *cli.CLI) *cobra.Command {
	var only, text string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NAME|ID [NAME|ID...]",
		Short: "Show all that is known of containers, images and networks, as JSON",
		Args:  cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted, err := wantedKinds(only)
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
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
	cmd.Flags().StringVar(&only, "type", "", "Only look for this `KIND`: container, image or network")
	cmd.Flags().StringVarP(&text, "format", "f", "", "Print what this Go `TEMPLATE` makes of each object")
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
	return nil, fmt.Errorf("%q is not a valid value for --type: container, image or network", only)
}

func find(ctx context.Context, cl *client.Client, wanted []kind, name string) (any, error) {
	if name == "" {
		return nil, fault.Invalidf("object", "name", "its name or id is empty; name a container, an image or a network")
	}
	for _, k := range wanted {
		d, err := k.get(ctx, cl, name)
		// What cannot be such a name at all is not there either.
		if err == nil || len(wanted) == 1 || !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid) {
			return d, err
		}
	}
	return nil, fault.NotFoundf("object "+name, "No such object: no container, image or network has this name or id")
}
