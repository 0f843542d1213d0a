// Package policy implements the commands about egress policies.
package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/egress"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// Group returns the command `fairlead policy`.
func Group(c *cli.CLI) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Manage policies for traffic of containers",
		Long: `Manage policies: what containers may reach, and what may reach them.

A policy is set with --egress and --ingress of run, create and update, or by files that select containers: see
"policy apply". Each rule is [!]PEER[:PORT[-PORT]][/PROTO][/any-name]:

  github.com:443, *.npmjs.org    names, enforced by the addresses that the container resolved, and on ports 443 and 80
                                 by the server name of TLS and HTTP
  github.com/quic                QUIC too (443/udp), by the name in its handshake
  github.com:443/any-name        all that is served on the addresses of the name
  10.0.0.0/8:5432, [fd00::/8]    addresses
  container:db, network:back     a container, the subnets of a network
  label:tier=back, label:tier    all containers with a label
  host, lan, internet            the host, private addresses, all other addresses
  metadata                       metadata services of clouds (169.254.169.254)
  dns                            resolve all names, reach nothing
  observe                        reach everything except metadata, and record it
  all, none                      everything, nothing

A rule with "!" denies. What no rule allows is refused. Rules of --ingress name the sources of connections, which have
no domain names, and ports of the container.`,
		RunE: cli.UnknownCommand,
	}
	cmd.AddCommand(newApply(c), newExplain(c), newList(c), newRemove(c), newSchema(c), newShow(c), newSuggest(c),
		newTest(c))
	return cmd
}

// Commands returns the commands outside the group.
func Commands() []cli.Command { return []cli.Command{{Name: "denied", New: newDenied}} }

func newList(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List policies of files, and the rules in force for running containers",
		Long: `List policies of files, and the rules in force for running containers, of this host. Other hosts of a
fleet have policies of their own.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			if err := listNamed(cmd, c); err != nil {
				return err
			}
			res, err := cl.Policies.ListPolicies(cmd.Context(), &natv1.ListPoliciesRequest{})
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.Screen(), 0, 1, 3, ' ', 0)
			_, _ = fmt.Fprintln(w, "CONTAINER ID\tNAME\tREFUSED\tEGRESS\tINGRESS")
			for _, p := range res.GetPolicies() {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", id.Short(p.GetOwner()), p.GetOwnerName(), p.GetRefused(),
					strings.Join(p.GetRules(), ","), strings.Join(p.GetIngress(), ","))
			}
			return w.Flush()
		},
	}
}

func newSuggest(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "suggest CONTAINER",
		Short: "Print a policy that allows what a container reached",
		Long: `Print a policy that allows what a container reached with the policy observe.

The output is a value for --egress.`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			owner, err := containerID(cmd.Context(), cl, args[0])
			if err != nil {
				return err
			}
			var seen []*natv1.Refusal
			if _, err := refusals(cmd.Context(), cl, &natv1.WatchRefusalsRequest{Owner: owner, Observed: true},
				func(r *natv1.Refusal) {
					if !r.GetIncoming() {
						seen = append(seen, r)
					}
				}); err != nil {
				return err
			}
			if len(seen) == 0 {
				return fmt.Errorf("container %s: no connections were observed yet; start it with --egress observe, "+
					"and let it connect", args[0])
			}
			c.Println(strings.Join(egress.Suggest(observed(seen)), ","))
			return nil
		},
	}
}

// observed converts records to connections.
func observed(seen []*natv1.Refusal) (all []egress.Connection) {
	for _, r := range seen {
		all = append(all, egress.Connection{Name: r.GetName(), Address: r.GetAddress(), Protocol: r.GetProtocol(),
			Port: uint16(r.GetPort())})
	}
	return all
}

// containerID returns the full ID of a container.
func containerID(ctx context.Context, cl *client.Client, reference string) (string, error) {
	res, err := cl.Containers.GetContainer(ctx, &containerv1.GetContainerRequest{Reference: reference})
	return res.GetContainer().GetId(), err
}

// watched is the outcome of a call for refusals.
type watched struct {
	answered bool   // natagent responded
	lost     uint64 // how often records were lost
}

// refusals calls show for each refusal.
func refusals(ctx context.Context, cl *client.Client, req *natv1.WatchRefusalsRequest,
	show func(*natv1.Refusal)) (w watched, err error) {
	stream, err := cl.Policies.WatchRefusals(ctx, req)
	if err != nil {
		return w, err
	}
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return w, nil
		}
		if err != nil {
			return w, err
		}
		w = watched{true, res.GetLost()}
		for _, r := range res.GetRefusals() {
			show(r)
		}
	}
}
