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
		Short: "Connect a container to a network",
		Long: `Connect a container to a network.

Running containers are connected immediately, stopped ones at their next start.

Endpoint options:
  com.docker.network.endpoint.ifname    interface name
  com.docker.network.endpoint.sysctls   interface sysctls: net.ipv4.conf.IFNAME.log_martians=1,...
  allowed-addresses                     subnets that the container routes: 10.8.0.0/24,...`,
		Args: cli.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := o.attachment(args[0])
			if err != nil {
				return err
			}
			cl, err := c.Client()
			if err != nil {
				return err
			}
			_, err = cl.Containers.ConnectNetwork(cmd.Context(),
				&containerv1.ConnectNetworkRequest{Reference: args[1], Network: a})
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ip, "ip", "", "IPv4 address")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 address")
	f.StringVar(&o.mac, "mac-address", "", "MAC address")
	f.StringArrayVar(&o.aliases, "alias", nil, "DNS alias on the network")
	f.Int32Var(&o.priority, "gw-priority", 0, "Priority of the default route (highest wins)")
	f.StringArrayVar(&o.linkLocal, "link-local-ip", nil, "Link-local address")
	f.StringArrayVar(&o.links, "link", nil, "Add a DNS name for another container: CONTAINER[:ALIAS]")
	f.StringArrayVar(&o.driverOptions, "driver-opt", nil, "Endpoint option: KEY=VALUE (see above)")
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
	read(&out.Ipv4Address, o.ip,
		func() (string, error) { return networkspec.Address("--ip "+o.ip, "ip", o.ip, netip.Addr.Is4) })
	read(&out.Ipv6Address, o.ip6,
		func() (string, error) { return networkspec.Address("--ip6 "+o.ip6, "ip6", o.ip6, netip.Addr.Is6) })
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

	out.InterfaceName, out.Sysctls, out.LinkLocalAddresses, out.AllowedAddresses = a.Interface, a.Sysctls,
		a.LinkLocal, a.Allowed

	return out, errors.Join(errs...)
}

func newDisconnect(c *cli.CLI) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "disconnect [OPTIONS] NETWORK CONTAINER",
		Short: "Disconnect a container from a network",
		Args:  cli.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			_, err = cl.Containers.DisconnectNetwork(cmd.Context(),
				&containerv1.DisconnectNetworkRequest{Reference: args[1], Network: args[0]})
			if force && fault.Is(err, fault.NotFound) {
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Ignore a missing container or connection")
	return cmd
}
