package system

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/command/prune"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Group returns the command `fairlead system`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("system", "Check the agent's state, show and free disk space", newCheck(c), newDiskUsage(c),
		newEvents(c), newInfo(c),
		prune.System(c))
}

func newCheck(c *cli.CLI) *cobra.Command {
	var asJSON, repair bool
	cmd := &cobra.Command{
		Use:   "check [OPTIONS]",
		Short: "Compare the agent's state with the host",
		Long: `Compare the agent's state with the host.

The stored state of the services is compared with links, addresses, routes, rules, name files,
mounts and processes. Without --repair nothing is changed. A difference that exists only while a
container starts or stops is gone at the next check. The exit code is 1 if there is a problem.

With --repair each service first reconciles the host with its state. Containers keep running.`,
		Example: `  $ fairlead system check
  $ fairlead system check --repair
  $ fairlead system check --json | jq '.[] | select(.Severity == "problem")'`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			all, err := differences(cmd.Context(), cl, repair)
			if err != nil {
				return err
			}
			return show(c, all, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print findings as JSON")
	cmd.Flags().BoolVar(&repair, "repair", false, "Repair the host before comparing")
	return cmd
}

// differences requests the differences of each service, networks first, because the repair of the
// others depends on them.
func differences(ctx context.Context, cl *client.Client, repair bool) ([]Finding, error) {
	return asked("system check", []question{
		{"netagent", func() ([]*hostv1.Finding, error) {
			resp, err := cl.Networks.Check(ctx, &networkv1.CheckRequest{Repair: repair})
			return resp.GetFindings(), err
		}},
		{"natagent", func() ([]*hostv1.Finding, error) {
			resp, err := cl.Firewall.Check(ctx, &natv1.CheckRequest{Repair: repair})
			return resp.GetFindings(), err
		}},
		{"dnsagent", func() ([]*hostv1.Finding, error) {
			resp, err := cl.Names.Check(ctx, &dnsv1.CheckRequest{Repair: repair})
			return resp.GetFindings(), err
		}},
		{"supervisor", func() ([]*hostv1.Finding, error) {
			resp, err := cl.Host.Check(ctx, &hostv1.CheckRequest{Repair: repair})
			return resp.GetFindings(), err
		}},
	})
}
