package dns

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/dnsrecord"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// recordHelp describes records.
const recordHelp = `Containers on user networks resolve these records. Containers on a network (--network) see those of
the network instead of those of all containers with the same name. A change is in force immediately.

NAME can be *.SUFFIX, for all names below a suffix; the NAME of a PTR record can be an address. TYPE is A,
AAAA, CNAME, TXT, SRV or PTR. The DATA of SRV is PRIORITY WEIGHT PORT TARGET.`

// networkUsage describes the flag --network.
const networkUsage = "Network whose containers see it (default: all containers)"

func newRecordAdd(c *cli.CLI) *cobra.Command {
	var network, ttl string
	cmd := &cobra.Command{
		Use:   "add [OPTIONS] NAME TYPE DATA [DATA...]",
		Short: "Add DNS records",
		Long:  "Add DNS records, one for each DATA.\n\n" + recordHelp,
		Args:  cli.MinArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return addRecords(cmd.Context(), c, network, ttl, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&network, "network", "", networkUsage)
	f.StringVar(&ttl, "ttl", "60s", "Time for which clients may keep the answer: seconds or a duration such as 5m")
	return cmd
}

func addRecords(ctx context.Context, c *cli.CLI, network, ttl string, args []string) error {
	seconds, err := dnsrecord.ParseTTL(ttl)
	if err != nil {
		return err
	}
	cl, err := c.Client()
	if err != nil {
		return err
	}
	if network, err = networkName(ctx, cl, network); err != nil {
		return err
	}
	req := &dnsv1.AddRecordsRequest{}
	for _, data := range dataOf(args[1], args[2:]) {
		req.Records = append(req.Records, &dnsv1.Record{Network: network, Name: args[0], Type: args[1], Ttl: &seconds,
			Data: data})
	}
	_, err = cl.DNSRecords.AddRecords(ctx, req)
	return err
}

// dataOf returns the data of each record. Four words are the data of one SRV record.
func dataOf(kind string, words []string) []string {
	if strings.EqualFold(kind, string(dnsrecord.SRV)) && len(words) == 4 && !strings.Contains(words[0], " ") {
		return []string{strings.Join(words, " ")}
	}
	return words
}

// networkName returns the name of a network that exists. An empty reference stays empty.
func networkName(ctx context.Context, cl *client.Client, reference string) (string, error) {
	if reference == "" {
		return "", nil
	}
	res, err := cl.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: reference})
	return res.GetNetwork().GetName(), err
}

func newRecordRemove(c *cli.CLI) *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] NAME [TYPE [DATA]]",
		Aliases: []string{"remove"},
		Short:   "Remove DNS records",
		Long: `Remove the DNS records of a name, of one type, or one record. Those of the configuration file are changed
there. --network is the name of a network, which need not exist any more.`,
		Args: cli.RangeArgs(1, 6),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			req := &dnsv1.RemoveRecordsRequest{Network: network, Name: args[0]}
			if len(args) > 1 {
				req.Type, req.Data = args[1], strings.Join(args[2:], " ")
				if len(args) > 2 && req.GetData() == "" { // an empty text, not all records
					req.Data = `""`
				}
			}
			_, err = cl.DNSRecords.RemoveRecords(cmd.Context(), req)
			return err
		},
	}
	cmd.Flags().StringVar(&network, "network", "", networkUsage)
	return cmd
}

// RecordRow is a row of the list of records.
type RecordRow struct{ Network, Name, TTL, Type, Data, Source string }

const recordColumns = "{{.Network}}\t{{.Name}}\t{{.TTL}}\t{{.Type}}\t{{.Data}}\t{{.Source}}"

func newRecordList(c *cli.CLI) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List DNS records",
		Long: `List DNS records. SOURCE is added, or configuration for those of the configuration file.

Template fields: .Network .Name .TTL .Type .Data .Source. "table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			list, err := cl.ListDNSRecords(cmd.Context(), o.network)
			if err != nil {
				return err
			}
			rows := []RecordRow{}
			for _, r := range list {
				rows = append(rows, RecordRow{r.GetNetwork(), r.GetName(), strconv.Itoa(int(r.GetTtl())), r.GetType(),
					r.GetData(), source(r.GetConfigured())})
			}
			return format.Print(c.Screen(), o.format, recordColumns,
				RecordRow{"NETWORK", "NAME", "TTL", "TYPE", "DATA", "SOURCE"}, rows)
		},
	}
	o.add(cmd)
	return cmd
}

// listOptions are the options of lists.
type listOptions struct{ network, format string }

func (o *listOptions) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.network, "network", "", "Only those of a network")
	f.StringVar(&o.format, "format", format.Table, "Output format: table, json or a Go template")
}

// source returns the origin of a row.
func source(configured bool) string {
	if configured {
		return "configuration"
	}
	return "added"
}
