package container

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/ctl/internal/portspec"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

func newPublish(c *cli.CLI) *cobra.Command {
	var addresses []string
	cmd := &cobra.Command{
		Use:   "publish [OPTIONS] CONTAINER [[IP:][HOST_PORT:]PORT[/PROTOCOL][,from=NETWORK]...]",
		Short: "Publish further ports of a container, also while it runs",
		Long: `Publish further ports of a container: at once if it runs, and with each later start. Nothing is restarted, and no connection to what is
published already is lost. With from=NETWORK, which may be given several times, only those networks reach a port, and the host itself.`,
		Example: `  $ fairlead publish web 8443:443
  80/tcp -> 0.0.0.0:8080
  443/tcp -> 0.0.0.0:8443

  $ fairlead publish web 9000:9000,from=192.168.8.0/24`,
		Args: cli.RangeArgs(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &containerv1.PublishPortsRequest{Reference: args[0]}
			var err error
			if req.Ports, err = mappings(args[1:]); err != nil {
				return err
			}
			if req.Addresses, err = addressMappings(addresses); err != nil {
				return err
			}
			if len(req.Ports)+len(req.Addresses) == 0 {
				return fault.Invalidf("publish", "publish", "nothing to publish is given: name a port such as 8080:80, or --publish-address IP")
			}
			cl, err := c.Client()
			if err != nil {
				return err
			}
			resp, err := cl.Containers.PublishPorts(cmd.Context(), req)
			c.Warn(resp.GetWarnings()...)
			for _, b := range format.SortedBindings(resp.GetBindings()) {
				c.Printf("%s -> %s%s\n", format.ContainerPort(b), format.HostPort(b), format.AllowedSources(b.GetAllowedSources()))
			}
			return err
		},
	}
	cmd.Flags().StringArrayVar(&addresses, "publish-address", nil,
		"Lead every protocol and port of the host's address `IP[,outgoing=false][,from=NETWORK]` here, and have what is sent out leave as it")
	return cmd
}

func newUnpublish(c *cli.CLI) *cobra.Command {
	var addresses []string
	var all bool
	cmd := &cobra.Command{
		Use:   "unpublish [OPTIONS] CONTAINER [[IP:][HOST_PORT:]PORT[/PROTOCOL]...]",
		Short: "Withdraw published ports of a container, also while it runs",
		Long: `Withdraw published ports of a container: all that lead to a container's port, or only those from the host's address and port that are given.
Nothing is restarted, and no connection to what stays published is lost.`,
		Example: `  $ fairlead unpublish web 8443:443
  $ fairlead unpublish web 53/udp
  $ fairlead unpublish --all web`,
		Args: cli.RangeArgs(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &containerv1.UnpublishPortsRequest{Reference: args[0], Addresses: addresses, All: all}
			var err error
			if req.Ports, err = mappings(args[1:]); err != nil {
				return err
			}
			if !all && len(req.Ports)+len(addresses) == 0 {
				return fault.Invalidf("unpublish", "publish", "nothing to withdraw is given: name a port such as 8080:80, --publish-address IP, or --all")
			}
			cl, err := c.Client()
			if err != nil {
				return err
			}
			_, err = cl.Containers.UnpublishPorts(cmd.Context(), req)
			return err
		},
	}
	cmd.Flags().StringArrayVar(&addresses, "publish-address", nil, "Withdraw the host's address `IP` that is published whole")
	cmd.Flags().BoolVar(&all, "all", false, "Withdraw everything")
	return cmd
}

// mappings reads what stands after -p.
func mappings(specs []string) (out []*natv1.PortMapping, err error) {
	for _, spec := range specs {
		m, err := portspec.Parse(spec)
		if err != nil {
			return nil, err
		}
		out = append(out, mapping(m))
	}
	return out, nil
}

// addressMappings reads what stands after --publish-address.
func addressMappings(specs []string) (out []*natv1.AddressMapping, err error) {
	for _, spec := range specs {
		a, err := portspec.ParseAddress(spec)
		if err != nil {
			return nil, err
		}
		out = append(out, &natv1.AddressMapping{HostIp: a.HostIP.String(), NoSnat: a.NoSNAT, AllowedSources: a.Sources.Strings()})
	}
	return out, nil
}
