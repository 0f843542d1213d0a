package container

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/command/cli"
	"github.com/fairlead/fairlead/ctl/format"
)

func newPort(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "port CONTAINER [PRIVATE_PORT[/PROTOCOL]]",
		Short: "Show which host ports lead to a container's ports, or to one of them",
		Example: `  $ fairlead port web
  80/tcp -> 0.0.0.0:8080

  $ fairlead port web 80
  0.0.0.0:8080`,
		Args: cli.From(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted := ""
			if len(args) == 2 {
				wanted = args[1]
			}
			return printPorts(cmd.Context(), c, args[0], wanted)
		},
	}
}

// printPorts prints all bindings, or those of the one port that is wanted.
func printPorts(ctx context.Context, c *cli.CLI, reference, wanted string) error {
	number, proto, _ := strings.Cut(wanted, "/")
	if proto == "" {
		proto = "tcp"
	}
	if _, err := strconv.ParseUint(number, 10, 16); wanted != "" && err != nil {
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
		from := fmt.Sprintf("%d/%s", b.GetContainerPort(), format.Protocol(b.GetProtocol()))
		switch wanted {
		case "":
			c.Printf("%s -> %s\n", from, format.HostPort(b))
		default:
			if from == number+"/"+strings.ToLower(proto) {
				c.Println(format.HostPort(b))
				found = true
			}
		}
	}
	if wanted != "" && !found {
		return cli.Verbatim(fmt.Sprintf("Error: No public port '%s' published for %s", wanted, reference))
	}
	return nil
}
