package container

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

func newPort(c *cli.CLI) *cobra.Command {
	reach := false
	cmd := &cobra.Command{
		Use:   "port [OPTIONS] CONTAINER [PRIVATE_PORT[/PROTOCOL]]",
		Short: "List the published ports of a container",
		Example: `  $ fairlead port web
  80/tcp -> 0.0.0.0:8080

  $ fairlead port web 80
  0.0.0.0:8080

  $ fairlead port --reach web
  80/tcp -> 0.0.0.0:8080: any source, and the host (table inet fairlead, chain to_bridge)`,
		Args: cli.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted := ""
			if len(args) == 2 {
				wanted = args[1]
			}
			if reach {
				return printReach(cmd.Context(), c, args)
			}
			return printPorts(cmd.Context(), c, args[0], wanted)
		},
	}
	cmd.Flags().BoolVar(&reach, "reach", false, "Show who can reach each port, and by which rule")
	return cmd
}

// printPorts prints all bindings, or those of one container port.
func printPorts(ctx context.Context, c *cli.CLI, reference, wanted string) error {
	number, proto, _ := strings.Cut(wanted, "/")
	if proto == "" {
		proto = "tcp"
	}

	port, err := strconv.ParseUint(number, 10, 16)
	if wanted != "" && err != nil {
		return cli.Verbatim(fmt.Sprintf("Error: invalid port (%s)", number))
	}

	cl, err := c.Client()
	if err != nil {
		return err
	}

	target, err := get(ctx, cl, reference)
	if err != nil {
		return err
	}

	found := false
	for _, b := range format.SortedBindings(target.GetBindings()) {
		if wanted == "" {
			c.Printf("%s -> %s%s\n", format.ContainerPort(b), format.HostPort(b),
				format.AllowedSources(b.GetAllowedSources()))
			continue
		}
		if at, ok := hostEndpoint(b, uint32(port), strings.ToLower(proto)); ok {
			c.Println(at)
			found = true
		}
	}

	if wanted != "" && !found {
		return cli.Verbatim(fmt.Sprintf("Error: No public port '%s' published for %s", wanted, reference))
	}

	return nil
}

// hostEndpoint returns the host address and port that a binding forwards to a container port; ok is
// false if it does not.
func hostEndpoint(b *natv1.PortBinding, port uint32, proto string) (at string, ok bool) {
	if b.GetProtocol() == natv1.Protocol_PROTOCOL_ALL {
		return net.JoinHostPort(b.GetHostIp(), strconv.Itoa(int(port))), true
	}
	if format.Protocol(b.GetProtocol()) != proto || port < b.GetContainerPort() || port > format.LastPort(b) {
		return "", false
	}
	if b.GetHostPort() == 0 {
		return format.HostPort(b), true
	}
	return net.JoinHostPort(b.GetHostIp(), strconv.Itoa(int(b.GetHostPort()+port-b.GetContainerPort()))), true
}
