package network

import (
	"errors"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type connectOptions struct {
	ip, ip6, mac                      string
	aliases, linkLocal, driverOptions []string
	links                             []string
	priority                          int32
}

func newConnect(c *cli.CLI) *cobra.Command {
	var o connectOptions
	cmd := &cobra.Command{
		Use:   "connect [OPTIONS] NETWORK CONTAINER",
		Short: "Put a container on one more network",
		Long:  "Put a container on one more network: at once if it runs, and else with its next start.",
		Args:  cli.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := o.attachment(args[0])
			if err != nil {
				return err
			}
			cl, err := c.Client()
			if err != nil {
				return err
			}
			_, err = cl.Containers.ConnectNetwork(cmd.Context(), &containerv1.ConnectNetworkRequest{Reference: args[1], Network: a})
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ip, "ip", "", "IPv4 `ADDRESS` to have")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 `ADDRESS` to have")
	f.StringVar(&o.mac, "mac-address", "", "Hardware `ADDRESS` to have")
	f.StringArrayVar(&o.aliases, "alias", nil, "Further `NAME` of the container on this network")
	f.Int32Var(&o.priority, "gw-priority", 0, "Of several networks that with the highest `NUMBER` has the default route")
	f.StringArrayVar(&o.linkLocal, "link-local-ip", nil, "Further link-local `ADDRESS` to have")
	f.StringArrayVar(&o.links, "link", nil, "Further name of another container on this network, for this one alone, `CONTAINER[:NAME]`")
	f.StringArrayVar(&o.driverOptions, "driver-opt", nil, "Endpoint option `KEY=VALUE`: com.docker.network.endpoint.ifname names the interface,\ncom.docker.network.endpoint.sysctls sets kernel parameters of it, as net.ipv4.conf.IFNAME.log_martians=1,…,\nallowed-addresses lists subnets that the container routes, as 10.8.0.0/24,…")
	return cmd
}

func (o *connectOptions) attachment(network string) (*containerv1.NetworkAttachment, error) {
	out := &containerv1.NetworkAttachment{Network: network, Aliases: o.aliases, GatewayPriority: o.priority}
	var errs []error
	read := func(to *string, from string, parse func() (string, error)) {
		if from != "" {
			var err error
			*to, err = parse()
			errs = append(errs, err)
		}
	}
	read(&out.Ipv4Address, o.ip, func() (string, error) { return networkspec.Address("--ip "+o.ip, "ip", o.ip, netip.Addr.Is4) })
	read(&out.Ipv6Address, o.ip6, func() (string, error) { return networkspec.Address("--ip6 "+o.ip6, "ip6", o.ip6, netip.Addr.Is6) })
	read(&out.MacAddress, o.mac, func() (string, error) { return networkspec.MAC("--mac-address "+o.mac, o.mac) })
	var a networkspec.Attachment
	for _, option := range o.driverOptions {
		errs = append(errs, a.DriverOption("--driver-opt "+option, option))
	}
	for _, text := range o.linkLocal {
		errs = append(errs, a.AddLinkLocal("--link-local-ip "+text, text))
	}
	for _, spec := range o.links {
		to, alias, err := networkspec.Link(spec)
		out.Links, errs = append(out.Links, &containerv1.Link{Container: to, Alias: alias}), append(errs, err)
	}
	out.InterfaceName, out.Sysctls, out.LinkLocalAddresses, out.AllowedAddresses = a.Interface, a.Sysctls, a.LinkLocal, a.Allowed
	return out, errors.Join(errs...)
}

func newDisconnect(c *cli.CLI) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "disconnect [OPTIONS] NETWORK CONTAINER",
		Short: "Take a container off a network",
		Args:  cli.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			_, err = cl.Containers.DisconnectNetwork(cmd.Context(), &containerv1.DisconnectNetworkRequest{Reference: args[1], Network: args[0]})
			if force && fault.Is(err, fault.NotFound) {
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "One that is not on it, or not there, is no error")
	return cmd
}
