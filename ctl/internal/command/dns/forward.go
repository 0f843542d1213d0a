package dns

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

func newForwardAdd(c *cli.CLI) *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:   "add [OPTIONS] DOMAIN SERVER [SERVER...]",
		Short: "Send the questions about a domain to other servers",
		Long: `Send the questions about a domain and all names below to other servers, instead of those of the container.
DOMAIN can be "." for all names, or a range such as 10.0.0.0/8 for names of addresses. The nearest domain
is used. Servers that exist are kept.

SERVER is ADDRESS[:PORT], or tls://ADDRESS[:PORT][#NAME] for DNS over TLS with a certificate of NAME, or
without it of the address. The host connects to them, in order, at most three.`,
		Args: cli.MinArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			name, err := networkName(cmd.Context(), cl, network)
			if err != nil {
				return err
			}
			_, err = cl.DNSForwards.AddForward(cmd.Context(), &dnsv1.AddForwardRequest{Forward: &dnsv1.Forward{
				Network: name, Domain: args[0], Servers: args[1:]}})
			return err
		},
	}
	cmd.Flags().StringVar(&network, "network", "", networkUsage)
	return cmd
}

func newForwardRemove(c *cli.CLI) *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] DOMAIN [SERVER...]",
		Aliases: []string{"remove"},
		Short:   "Remove servers of a domain",
		Long: `Remove servers of a domain, or all. Those of the configuration file are changed there. --network is the
name of a network, which need not exist any more.`,
		Args: cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			_, err = cl.DNSForwards.RemoveForward(cmd.Context(), &dnsv1.RemoveForwardRequest{Network: network,
				Domain: args[0], Servers: args[1:]})
			return err
		},
	}
	cmd.Flags().StringVar(&network, "network", "", networkUsage)
	return cmd
}

// ForwardRow is a row of the list of forwards.
type ForwardRow struct{ Network, Domain, Servers, Source string }

const forwardColumns = "{{.Network}}\t{{.Domain}}\t{{.Servers}}\t{{.Source}}"

func newForwardList(c *cli.CLI) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List servers of domains",
		Long: `List servers of domains. SOURCE is added, or configuration for those of the configuration file.

Template fields: .Network .Domain .Servers .Source. "table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			list, err := cl.ListDNSForwards(cmd.Context(), o.network)
			if err != nil {
				return err
			}
			rows := []ForwardRow{}
			for _, f := range list {
				rows = append(rows, ForwardRow{f.GetNetwork(), f.GetDomain(), strings.Join(f.GetServers(), " "),
					source(f.GetConfigured())})
			}
			return format.Print(c.Screen(), o.format, forwardColumns,
				ForwardRow{"NETWORK", "DOMAIN", "SERVERS", "SOURCE"}, rows)
		},
	}
	o.add(cmd)
	return cmd
}
