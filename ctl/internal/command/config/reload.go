package config

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

func newReload(c *cli.CLI) *cobra.Command {
	var dry, renumber bool
	cmd := &cobra.Command{
		Use:   "reload [OPTIONS]",
		Short: "Reload the agent's configuration",
		Long: `Reload the agent's configuration.

If the configuration has an error, nothing changes. If the subnet of the default network changes,
running containers keep their addresses unless --renumber is given or the key "renumber" is true.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return reload(cmd.Context(), c, dry, renumber) },
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Show the changes without applying them")
	cmd.Flags().BoolVar(&renumber, "renumber", false, "Renumber running containers of the default network")
	return cmd
}

func reload(ctx context.Context, c *cli.CLI, dry, renumber bool) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	res, err := cl.Config.ReloadConfig(ctx, &agentv1.ReloadConfigRequest{DryRun: dry, Renumber: renumber})
	if err != nil {
		return fail(c, err)
	}

	c.Warn(res.GetWarnings()...)
	if len(res.GetChanges()) == 0 {
		c.Println("no changes")
	}

	for _, change := range res.GetChanges() {
		c.Println(formatChange(change, dry))
	}

	moved := slices.ContainsFunc(res.GetChanges(),
		func(change *agentv1.Change) bool { return change.GetApplied() && affectsSubnet(change.GetKey()) })
	if dry || !moved && !renumber {
		return nil
	}

	return waitRenumbered(ctx, c, cl)
}

// affectsSubnet reports whether a key can change the addresses of containers on the default
// network.
func affectsSubnet(key string) bool {
	return slices.Contains([]string{"bip", "bip6", "fixed-cidr", "fixed-cidr-v6", "ipv6", "renumber"}, key)
}

// waitRenumbered waits until the containers of the default network are renumbered, and prints the
// warnings of the network.
func waitRenumbered(ctx context.Context, c *cli.CLI, cl *client.Client) error {
	const network = "bridge"
	_, err := cl.Networks.WaitNetwork(ctx, &networkv1.WaitNetworkRequest{Reference: network})
	if fault.Is(err, fault.NotFound) {
		return nil // the default network is disabled
	}
	if err != nil {
		return err
	}

	all, err := cl.Networks.ListNetworks(ctx, &networkv1.ListNetworksRequest{})
	for _, n := range all.GetNetworks() {
		if n.GetName() == network {
			c.Warn(n.GetWarnings()...)
		}
	}

	return err
}

// formatChange formats a change on one line: "mtu: 1500 -> 1400".
func formatChange(change *agentv1.Change, dry bool) string {
	line := change.GetKey() + ": " + list(change.GetBefore()) + " -> " + list(change.GetAfter())
	switch {
	case !change.GetApplied():
		line += " (restart required)"
	case dry:
		line += " (applied by a reload)"
	}
	return line
}

func list(values []string) string {
	if len(values) == 0 {
		return "not set"
	}
	return strings.Join(values, " ")
}
