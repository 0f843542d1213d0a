package container

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
)

func newPublish(c *cli.CLI) *cobra.Command {
	var addresses []string
	cmd := &cobra.Command{
		Use:   "publish [OPTIONS] CONTAINER [PORT_SPEC...]",
		Short: "Publish more ports of a container",
		Long: `Publish more ports of a container.

Running containers are updated immediately, stopped ones at their next start. Existing connections
are kept.

PORT_SPEC is [IP:][HOST_PORT:]PORT[/PROTO][,from=CIDR]. Ports can be ranges. With from=CIDR only
that network and the host can connect.`,
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
				return fault.Invalidf("publish", "publish",
					"no port given: add a port such as 8080:80, or --publish-address IP")
			}

			cl, err := c.Client()
			if err != nil {
				return err
			}

			resp, err := cl.Containers.PublishPorts(cmd.Context(), req)
			c.Warn(resp.GetWarnings()...)
			for _, b := range format.SortedBindings(resp.GetBindings()) {
				c.Printf("%s -> %s%s\n", format.ContainerPort(b), format.HostPort(b),
					format.AllowedSources(b.GetAllowedSources()))
			}

			return err
		},
	}
	cmd.Flags().StringArrayVar(&addresses, "publish-address", nil,
		"Forward all traffic for a host IP: IP[,snat=false][,from=CIDR]")

	return cmd
}

func newUnpublish(c *cli.CLI) *cobra.Command {
	var addresses []string
	var all bool
	cmd := &cobra.Command{
		Use:   "unpublish [OPTIONS] CONTAINER [PORT_SPEC...]",
		Short: "Unpublish ports of a container",
		Long: `Unpublish ports of a container.

PORT_SPEC is [IP:][HOST_PORT:]PORT[/PROTO]. Without a host address and port, it selects all bindings
of the container port. Connections to other ports are kept.`,
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
				return fault.Invalidf("unpublish", "publish",
					"no port given: add a port such as 8080:80, --publish-address IP, or --all")
			}

			cl, err := c.Client()
			if err != nil {
				return err
			}

			_, err = cl.Containers.UnpublishPorts(cmd.Context(), req)
			return err
		},
	}
	cmd.Flags().StringArrayVar(&addresses, "publish-address", nil, "Unpublish a host IP")
	cmd.Flags().BoolVar(&all, "all", false, "Unpublish everything")
	return cmd
}

// mappings parses the values of -p.
func mappings(specs []string) (out []*natv1.PortMapping, err error) {
	for _, spec := range specs {
		m, err := port.Parse(spec)
		if err != nil {
			return nil, err
		}
		out = append(out, portpb.MappingToProto(m))
	}
	return out, nil
}

// addressMappings parses the values of --publish-address.
func addressMappings(specs []string) (out []*natv1.AddressMapping, err error) {
	for _, spec := range specs {
		a, err := port.ParseAddress(spec)
		if err != nil {
			return nil, err
		}
		out = append(out, portpb.AddressToProto(a))
	}
	return out, nil
}
