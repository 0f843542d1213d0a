package network

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/ctl/command/cli"
	"github.com/fairlead/fairlead/ctl/networkspec"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

func newEdit(c *cli.CLI) *cobra.Command {
	var mtu uint32
	var subnets, labels, without []string
	cmd := &cobra.Command{
		Use:   "edit [OPTIONS] NETWORK",
		Short: "Change a network while containers are on it",
		Long: `Change a network while containers are on it. Nothing is restarted, and no connection is lost. A subnet can grow, to one that holds it
whole; containers keep their addresses.`,
		Example: `  $ fairlead network edit --mtu 1400 backend
  $ fairlead network edit --subnet 10.9.0.0/16 backend`,
		Args: cli.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &networkv1.EditNetworkRequest{Reference: args[0], Subnets: subnets}
			var err error
			if req.Labels, err = networkspec.Map("label", labels); err != nil {
				return err
			}
			for _, key := range without {
				if req.Labels == nil {
					req.Labels = map[string]string{}
				}
				req.Labels[key] = ""
			}
			if cmd.Flags().Changed("mtu") {
				req.Mtu = &mtu
			}
			if req.Mtu == nil && len(req.Subnets)+len(req.Labels) == 0 {
				return fault.Invalidf("network edit", "", "nothing to change is given: --mtu, --subnet, --label or --label-rm")
			}
			cl, err := c.Client()
			if err != nil {
				return err
			}
			resp, err := cl.Networks.EditNetwork(cmd.Context(), req)
			if err == nil {
				c.Println(resp.GetNetwork().GetName())
			}
			return err
		},
	}
	f := cmd.Flags()
	f.Uint32Var(&mtu, "mtu", 0, "MTU in `BYTES` of its links, those of running containers too")
	f.StringArrayVar(&subnets, "subnet", nil, "Larger subnet `CIDR` in the place of the one that lies in it")
	f.StringArrayVar(&labels, "label", nil, "Label `KEY=VALUE` to write on it")
	f.StringArrayVar(&without, "label-rm", nil, "Label `KEY` to take off")
	return cmd
}
