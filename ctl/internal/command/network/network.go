// Package network holds the network commands.
package network

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// Group returns the command `fairlead network`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("network", "Manage networks", newConnect(c), newCreate(c), newUpdate(c), newDisconnect(c),
		newList(c), newPrune(c), newRemove(c),
		c.InspectCommand("network", Document))
}

type listOptions struct {
	quiet, noTrunc bool
	format         string
	filters        []string
}

// row is a row of the list, with Docker's fields.
type row struct {
	CreatedAt string
	Driver    string
	ID        string
	IPv4      string
	IPv6      string
	Internal  string
	Labels    string
	Name      string
	Scope     string
}

const columns = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"

func newList(c *cli.CLI) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List networks",
		Long: `List networks.

Filters with the same key are alternatives (labels must all match); different keys must all match.
Keys: name=REGEXP, id=PREFIX, driver=NAME, scope=local, type=builtin|custom, label=KEY[=VALUE],
dangling=true|false (no running container is connected).

Template fields: .ID .Name .Driver .Scope .IPv4 .IPv6 .Internal .Labels .CreatedAt.
"table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cli.FilterError(cmd, o.run(cmd.Context(), c))
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Print only IDs")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	f.StringVar(&o.format, "format", format.Table, "Output format: table, json or a Go template")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Filter: KEY=VALUE")
	return cmd
}

func (o *listOptions) run(ctx context.Context, c *cli.CLI) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	res, err := cl.Networks.ListNetworks(ctx, &networkv1.ListNetworksRequest{Filters: o.filters})
	if err != nil {
		return err
	}

	rows := []row{}
	slices.SortStableFunc(res.GetNetworks(),
		func(a, b *networkv1.Network) int { return format.NaturalCompare(a.GetName(), b.GetName()) })
	for _, n := range res.GetNetworks() {
		c.Warn(n.GetWarnings()...)
		r := rowOf(n)
		if !o.noTrunc {
			r.ID = id.Short(r.ID)
		}
		rows = append(rows, r)
	}

	text := o.format
	if o.quiet {
		text = "{{.ID}}"
	}

	return format.Print(c.Screen(), text, columns, header, rows)
}

// Row returns an empty row, for the completion of templates.
func Row() any { return row{} }

// header holds the titles of the columns.
var header = row{"CREATED AT", "DRIVER", "NETWORK ID", "IPV4", "IPV6", "INTERNAL", "LABELS", "NAME", "SCOPE"}

func rowOf(n *networkv1.Network) row {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(n.GetLabels())) {
		labels = append(labels, key+"="+n.GetLabels()[key])
	}
	return row{n.GetCreatedAt().AsTime().String(), n.GetDriver(), n.GetId(), strconv.FormatBool(n.GetIpv4()),
		strconv.FormatBool(n.GetIpv6()),
		strconv.FormatBool(n.GetInternal()), strings.Join(labels, ","), n.GetName(), scopeOf(n)}
}

// scopeGlobal is the scope of networks across hosts.
const scopeGlobal = "global"

// Document returns the inspect document of a network, with the containers of all hosts. Without a response of the
// supervisor, it lists no containers of this host; without one of fleetagent, none of other hosts.
func Document(ctx context.Context, cl *client.Client, reference string) (any, error) {
	res, err := cl.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: reference})
	if err != nil {
		return nil, err
	}
	list, err := cl.ListContainers(ctx, false)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	doc := inspect.FromNetwork(res.GetNetwork(), list)
	if res.GetNetwork().GetScope() != scopeGlobal {
		return doc, nil
	}
	others, err := cl.Fleet.ListEndpoints(ctx, &fleetv1.ListEndpointsRequest{NetworkId: res.GetNetwork().GetId()})
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	doc.AddEndpoints(others.GetEndpoints())
	return doc, nil
}
