// Package network holds the commands about networks.
package network

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/command/cli"
	"github.com/fairlead/fairlead/ctl/format"
	"github.com/fairlead/fairlead/ctl/inspect"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Group is `fairlead network`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("network", "Look at networks", newList(c), c.InspectCommand("network", Document))
}

type listOptions struct {
	quiet, noTrunc bool
	format         string
}

// row is a line of the list. The fields are Docker's.
type row struct {
	Driver string
	ID     string
	Name   string
	Scope  string
}

const columns = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"

func newList(c *cli.CLI) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List networks",
		Long: `List networks.

A template for --format has .ID .Name .Driver and .Scope; "table TEMPLATE" makes a table of it.`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), c) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only the ids")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten ids")
	f.StringVar(&o.format, "format", format.Table, "table, json, or a Go `TEMPLATE`")
	return cmd
}

func (o *listOptions) run(ctx context.Context, c *cli.CLI) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	res, err := cl.Networks.ListNetworks(ctx, &networkv1.ListNetworksRequest{})
	if err != nil {
		return err
	}
	rows := []row{}
	for _, n := range res.GetNetworks() {
		r := row{n.GetDriver(), n.GetId(), n.GetName(), "local"}
		if !o.noTrunc {
			r.ID = id.Short(r.ID)
		}
		rows = append(rows, r)
	}
	text := o.format
	if o.quiet {
		text = "{{.ID}}"
	}
	return format.Print(c.Out, text, columns, row{"DRIVER", "NETWORK ID", "NAME", "SCOPE"}, rows)
}

// Document is what `inspect` prints of a network.
func Document(ctx context.Context, cl *client.Client, reference string) (any, error) {
	res, err := cl.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: reference})
	if err != nil {
		return nil, err
	}
	return inspect.OfNetwork(res.GetNetwork()), nil
}
