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
	ipv6, renumber                bool
}

func newUpdate(c *cli.CLI) *cobra.Command {
	var o updateOptions
	cmd := &cobra.Command{
		Use:   "edit [OPTIONS] NETWORK",
		Short: "Change a network while containers are on it",
		Long: `Change a network while containers are on it. Nothing is restarted, and no connection is lost. A subnet can grow, to one that holds it
whole; containers keep their addresses. IPv6 can be added; containers get an address of it each, and their names and published
ports follow.

With --renumber the subnet can be any other one, or one that is chosen, if a route of the host has come to overlap it. Containers go
there one by one: each gets the address at the same place in the new subnet, if that is free, and is reached at the old one, too, until
its names and ports lead to the new one. Connections to the old address have three seconds to end then. Who asks for an address by number
keeps its place.`,
		Example: `  $ fairlead network edit --mtu 1400 backend
  $ fairlead network edit --subnet 10.9.0.0/16 backend
  $ fairlead network edit --ipv6 --dns 9.9.9.9 backend
  $ fairlead network edit --subnet 10.77.0.0/24 --renumber backend`,
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
	f.Uint32Var(&o.mtu, "mtu", 0, "MTU in `BYTES` of its links, those of running containers too")
	f.StringArrayVar(&o.subnets, "subnet", nil, "Larger subnet `CIDR` in the place of the one that lies in it; with --ipv6 the one to add, with --renumber any other")
	f.StringSliceVar(&o.dns, "dns", nil, "DNS server `IP` for its containers' questions, in the place of all; an empty one takes them off")
	f.BoolVar(&o.ipv6, "ipv6", false, "Add IPv6")
	f.BoolVar(&o.renumber, "renumber", false, "Give running containers new addresses, in another subnet")
	f.StringArrayVar(&o.labels, "label", nil, "Label `KEY=VALUE` to write on it")
	f.StringArrayVar(&o.without, "label-rm", nil, "Label `KEY` to take off")
	return cmd
}

func (o *updateOptions) request(cmd *cobra.Command, ref string) (*networkv1.UpdateNetworkRequest, error) {
	req := &networkv1.UpdateNetworkRequest{Reference: ref, Subnets: o.subnets, Ipv6: o.ipv6, Renumber: o.renumber}
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
	if cmd.Flags().Changed("mtu") {
		req.Mtu = &o.mtu
	}
	if cmd.Flags().Changed("dns") {
		req.Dns = &networkv1.NameServers{Addresses: slices.DeleteFunc(o.dns, func(s string) bool { return s == "" })}
	}
	if cmd.Flags().Changed("ipv6") && !o.ipv6 {
		return nil, fault.New(fault.Invalid, "network "+ref, "IPv6 cannot be taken off a network", fault.WithField("ipv6"),
			fault.WithHint("make a new network, and connect its containers to that"))
	}
	if req.Mtu == nil && req.Dns == nil && !req.Ipv6 && !req.Renumber && len(req.Subnets)+len(req.Labels) == 0 {
		return nil, fault.Invalidf("network edit", "", "nothing to change is given: --mtu, --subnet, --dns, --ipv6, --renumber, --label or --label-rm")
	}
	return req, nil
}

// update answers when all containers have followed.
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
