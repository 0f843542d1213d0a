package network

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

type updateOptions struct {
	mtu                           uint32
	subnets, labels, without, dns []string
	egress                        []string
	ipv6, renumber                bool
	limits                        limitOptions
}

func newUpdate(c *cli.CLI) *cobra.Command {
	var o updateOptions
	cmd := &cobra.Command{
		Use: "update [OPTIONS] NETWORK", Aliases: []string{"edit"},
		Short: "Update a network that is in use",
		Long: `Update a network that is in use.

Containers keep running and keep their connections. A subnet can be replaced by a larger one that
contains it. With --renumber it can be replaced by any other, or one is chosen that no host route
overlaps. Containers are renumbered one by one and stay reachable at their former address until DNS
and published ports are updated, plus 3 seconds.`,
		Example: `  $ fairlead network update --mtu 1400 backend
  $ fairlead network update --subnet 10.9.0.0/16 backend
  $ fairlead network update --ipv6 --dns 9.9.9.9 backend
  $ fairlead network update --subnet 10.77.0.0/24 --renumber backend`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := o.request(cmd, args[0])
			if err != nil {
				return err
			}
			return update(cmd.Context(), c, req)
		},
	}
	f := cmd.Flags()
	f.Uint32Var(&o.mtu, "mtu", 0, "MTU of the network")
	f.StringArrayVar(&o.subnets, "subnet", nil, "New subnet")
	f.StringSliceVar(&o.dns, "dns", nil, "Replace the upstream DNS servers (empty: remove them)")
	f.StringArrayVar(&o.egress, "egress", nil, "Replace the rules for outgoing traffic (all: remove them)")
	o.limits.add(f)
	f.BoolVar(&o.ipv6, "ipv6", false, "Add IPv6")
	f.BoolVar(&o.renumber, "renumber", false, "Move running containers to the new subnet")
	f.StringArrayVar(&o.labels, "label", nil, "Set a label: KEY=VALUE")
	f.StringArrayVar(&o.without, "label-rm", nil, "Remove a label")
	return cmd
}

func (o *updateOptions) request(cmd *cobra.Command, ref string) (*networkv1.UpdateNetworkRequest, error) {
	req := &networkv1.UpdateNetworkRequest{Reference: ref, Subnets: o.subnets, Ipv6: o.ipv6, Renumber: o.renumber,
		Egress: o.egress}
	var err error
	if req.Labels, err = networkspec.ParseKeyValues("label", o.labels); err != nil {
		return nil, err
	}

	for _, key := range o.without {
		if req.Labels == nil {
			req.Labels = map[string]string{}
		}
		req.Labels[key] = ""
	}

	if req.Limits, err = o.limits.toProto(cmd.Flags()); err != nil {
		return nil, err
	}

	if cmd.Flags().Changed("mtu") {
		req.Mtu = &o.mtu
	}
	if cmd.Flags().Changed("dns") {
		req.Dns = &networkv1.NameServers{Addresses: slices.DeleteFunc(o.dns, func(s string) bool { return s == "" })}
	}
	if cmd.Flags().Changed("ipv6") && !o.ipv6 {
		return nil, fault.New(fault.Invalid, "network "+ref, "IPv6 cannot be removed", fault.WithField("ipv6"),
			fault.WithHint("create a new network and connect the containers to it"))
	}
	if req.Mtu == nil && req.Dns == nil && req.Limits == nil && !req.Ipv6 && !req.Renumber &&
		len(req.Subnets)+len(req.Labels)+len(req.Egress) == 0 {
		return nil, fault.Invalidf("network update", "",
			"no change given: use --mtu, --subnet, --dns, --egress, --bandwidth, --packets, "+
				"--max-connections, --ipv6, --renumber, --label or --label-rm")
	}

	return req, nil
}

// update updates a network and waits until its containers are updated.
func update(ctx context.Context, c *cli.CLI, req *networkv1.UpdateNetworkRequest) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	edited, err := cl.Networks.UpdateNetwork(ctx, req)
	if err != nil {
		return err
	}

	resp, err := cl.Networks.WaitNetwork(ctx, &networkv1.WaitNetworkRequest{Reference: edited.GetNetwork().GetId()})
	if err == nil {
		c.Println(resp.GetNetwork().GetName())
	}

	return err
}
