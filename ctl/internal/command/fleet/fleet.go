// Package fleet holds the fleet commands.
package fleet

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Group returns the command `fairlead fleet`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("fleet", "Manage the hosts of a fleet", newBackup(c), newCertificate(c), newDemote(c),
		newDoctor(c), newInit(c), newInspect(c), newJoin(c), newLeave(c), newList(c), newPromote(c), newRecover(c),
		newRemove(c), newRestore(c), newToken(c), newUpdate(c))
}

func newInit(c *cli.CLI) *cobra.Command {
	var address, name string
	var addressSpace []string
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "init [OPTIONS]",
		Short: "Create a fleet with this host as its manager",
		Long: `Create a fleet with this host as its manager, and print the command with which a second host joins.

The manager keeps the store of the fleet. Other hosts must reach its TCP ports 7450 and 7451.

With --store, an etcd cluster keeps the records of the fleet instead: at least version 3.5.33, 3.6.14 or
3.7.1, with TLS and client certificates. Only managers have its credentials, and other hosts reach it
through them.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			external, err := store.read()
			if err != nil {
				return err
			}
			cl, err := c.Client()
			if err != nil {
				return err
			}
			res, err := cl.Fleet.InitFleet(cmd.Context(), &fleetv1.InitFleetRequest{Address: address, Name: name,
				AddressSpace: addressSpace, ExternalStore: external})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "Fleet %s created. This host is %s with address %s.\n\n", short(res.GetFleetId()),
				res.GetHost().GetName(), res.GetHost().GetAddress())
			printJoin(c.Out, res.GetToken(), "one more host, within one hour")
			c.Warn(res.GetWarnings()...)
			return nil
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "Address for other hosts (default: that of the default route)")
	cmd.Flags().StringVar(&name, "name", "", "Name of this host in the fleet (default: its host name)")
	cmd.Flags().StringSliceVar(&addressSpace, "address-space", nil,
		"Ranges for subnets of networks (default: 10.128.0.0/9)")
	store.register(cmd.Flags())
	cmd.Flags().StringVar(&store.prefix, "store-prefix", "",
		"What the keys of the fleet in the etcd cluster start with, as in /fleets/one")
	return cmd
}

func newJoin(c *cli.CLI) *cobra.Command {
	var address, name string
	cmd := &cobra.Command{
		Use:   "join [OPTIONS] TOKEN",
		Short: "Make this host part of a fleet",
		Long: `Make this host part of a fleet. A manager prints the token: fairlead fleet token.

The host's address in the fleet is the one from which it reaches the manager.`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			res, err := cl.Fleet.JoinFleet(cmd.Context(),
				&fleetv1.JoinFleetRequest{Token: args[0], Address: address, Name: name})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "Joined fleet %s. This host is %s with address %s.\n", short(res.GetFleetId()),
				res.GetHost().GetName(), res.GetHost().GetAddress())
			c.Warn(res.GetWarnings()...)
			return nil
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "Address for other hosts (default: that used for the manager)")
	cmd.Flags().StringVar(&name, "name", "", "Name of this host in the fleet (default: its host name)")
	return cmd
}

func newToken(c *cli.CLI) *cobra.Command {
	var valid time.Duration
	var uses uint32
	var quiet, manager bool
	cmd := &cobra.Command{
		Use:   "token [OPTIONS]",
		Short: "Create a join token on a manager",
		Args:  cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			role := fleetv1.HostRole_HOST_ROLE_MEMBER
			if manager {
				role = fleetv1.HostRole_HOST_ROLE_MANAGER
			}
			res, err := cl.Fleet.CreateToken(cmd.Context(),
				&fleetv1.CreateTokenRequest{Valid: durationpb.New(valid), Uses: uses, Role: role})
			if err != nil {
				return err
			}
			if quiet {
				fmt.Fprintln(c.Out, res.GetToken())
				return nil
			}
			kind := map[bool]string{false: "host", true: "manager"}[manager]
			hosts := "one more " + kind
			if uses > 1 {
				hosts = fmt.Sprintf("%d more %ss", uses, kind)
			}
			printJoin(c.Out, res.GetToken(), hosts+", until "+res.GetExpires().AsTime().Local().Format(time.DateTime))
			return nil
		},
	}
	cmd.Flags().DurationVar(&valid, "valid", time.Hour, "How long the token is valid, at most 168h")
	cmd.Flags().Uint32Var(&uses, "uses", 1, "How many hosts may use it")
	cmd.Flags().BoolVar(&manager, "manager", false, "The hosts become managers")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Print only the token")
	return cmd
}

func newLeave(c *cli.CLI) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "leave [OPTIONS]",
		Short: "Take this host out of its fleet",
		Long: `Take this host out of its fleet. Its networks are removed from the host. While containers run on
them, only --force leaves: the containers lose these networks.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			if !force {
				err := checkUnused(cmd.Context(), cl)
				if fault.Is(err, fault.Unavailable) { // without the supervisor a host can leave too
					c.Warn("running containers are not checked: " + err.Error())
				} else if err != nil {
					return err
				}
			}
			if _, err := cl.Fleet.LeaveFleet(cmd.Context(), &fleetv1.LeaveFleetRequest{Force: force}); err != nil {
				return err
			}
			fmt.Fprintln(c.Out, "This host has left the fleet.")
			return nil
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Leave with running containers or without a manager, or end it")
	return cmd
}

// overlay is the driver of the networks of a fleet.
const overlay = "overlay"

// checkUnused returns an error with the names of the running containers on networks of the fleet. On a host
// without a fleet there are none.
func checkUnused(ctx context.Context, cl *client.Client) error {
	running, err := cl.SelectContainers(ctx, &containerv1.ListContainersRequest{Summary: true})
	if err != nil {
		return err
	}
	var names []string
	for _, c := range running {
		if slices.ContainsFunc(c.GetSandbox().GetEndpoints(), func(e *networkv1.Endpoint) bool {
			return e.GetDriver() == overlay
		}) {
			names = append(names, c.GetConfig().GetName())
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	more := ""
	if len(names) > maxNamed {
		more, names = fmt.Sprintf(" and %d more", len(names)-maxNamed), names[:maxNamed]
	}
	return fault.New(fault.Conflict, "this host", "has running containers on networks of the fleet: "+
		strings.Join(names, ", ")+more, fault.WithHint("stop them, or use --force: they lose these networks"))
}

// maxNamed bounds the containers that an error names.
const maxNamed = 10

func printJoin(w io.Writer, token, who string) {
	fmt.Fprintf(w, "To add %s, run there:\n\n    fairlead fleet join %s\n\n", who, token)
}

func short(fleet string) string { return fleet[:min(12, len(fleet))] }
