package container

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/containerflags"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type updateOptions struct {
	restart         string
	egress, ingress []string
	bandwidth       string
	packets         string
	maxConnections  uint32
	limits          containerflags.Resources
}

func newUpdate(c *cli.CLI) *cobra.Command {
	var o updateOptions
	cmd := &cobra.Command{
		Use:   "update [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Update the configuration of one or more containers",
		Args:  cli.MinArgs(1),
	}
	cmd.Flags().StringVar(&o.restart, "restart", "", containerflags.RestartUsage)
	cmd.Flags().StringArrayVar(&o.egress, "egress", nil, "Replace the egress policy: rules as of run, all or none")
	cmd.Flags().StringArrayVar(&o.ingress, "ingress", nil, "Replace the ingress policy: rules as of run, all or none")
	cmd.Flags().StringVar(&o.bandwidth, "bandwidth", "", "Replace the bandwidth limits: as of run, or none")
	cmd.Flags().Uint32Var(&o.maxConnections, "max-connections", 0, "Replace the limit of open connections: 0 for none")
	cmd.Flags().StringVar(&o.packets, "packets", "", "Replace the limits of packets: as of run, or none")
	o.limits.AddForUpdate(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		policy, err := containerflags.ParseRestart(o.restart)
		if err != nil {
			return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
		}
		rate, err := parseBandwidth(o.bandwidth)
		if err != nil {
			return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
		}
		packets, err := parsePackets(o.packets)
		if err != nil {
			return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
		}
		var connections *uint32
		if cmd.Flags().Changed("max-connections") {
			connections = &o.maxConnections
		}
		limits := o.limits.Values(cmd.Flags())
		if policy == nil && limits == nil && o.egress == nil && o.ingress == nil && rate == nil && packets == nil &&
			connections == nil {
			return errors.New("you must provide one or more flags when using this command")
		}
		return each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
			res, err := cl.Containers.UpdateContainer(ctx,
				&containerv1.UpdateContainerRequest{Reference: reference, Restart: policy, Resources: limits,
					Egress: o.egress, Ingress: o.ingress, Bandwidth: rate, Packets: packets,
					MaxConnections: connections})
			if err == nil && len(res.GetWarnings()) > 0 {
				err = cli.WarningsError(res.GetWarnings())
			}
			return reference, err
		})(cmd, args)
	}
	return cmd
}
