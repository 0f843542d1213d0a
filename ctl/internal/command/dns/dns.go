// Package dns implements the commands about the embedded resolver of containers.
package dns

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

// Group returns the command `fairlead dns`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("dns", "Manage the DNS of containers", newLog(c),
		cli.Group("cache", "Manage the cache of the embedded resolver", newFlush(c)),
		cli.Group("record", "Manage DNS records", newRecordAdd(c), newRecordRemove(c), newRecordList(c)),
		cli.Group("forward", "Manage DNS servers of domains", newForwardAdd(c), newForwardRemove(c), newForwardList(c)))
}

func newFlush(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "flush",
		Short: "Remove all cached responses",
		Args:  cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			_, err = cl.DNSQueries.FlushCache(cmd.Context(), &dnsv1.FlushCacheRequest{})
			return err
		},
	}
}

type logOptions struct{ cli.Records }

func newLog(c *cli.CLI) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:   "log [OPTIONS]",
		Short: "Show the DNS questions of containers",
		Long: `Show the last DNS questions that containers asked the embedded resolver, oldest first.

TIME is the time of the answer. FROM is its source: containers (names of containers), records (of dns
record), cache, the server that answered, server (none did), policy (the egress policy does not allow the
name) or limit (too many pending questions). The log is in memory only.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, c) },
	}
	o.AddFlags(cmd)
	return cmd
}

func (o *logOptions) run(cmd *cobra.Command, c *cli.CLI) error {
	since, err := o.Since(cmd)
	if err != nil {
		return err
	}
	req := &dnsv1.WatchQueriesRequest{Follow: o.Follow, Since: since}
	cl, err := c.Client()
	if err != nil {
		return err
	}
	if o.Container != "" {
		res, err := cl.Containers.GetContainer(cmd.Context(), &containerv1.GetContainerRequest{Reference: o.Container})
		if err != nil {
			return err
		}
		req.Owner = res.GetContainer().GetId()
	}
	list, err := cl.SelectContainers(cmd.Context(), &containerv1.ListContainersRequest{All: true, Summary: true})
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, one := range list {
		names[one.GetId()] = one.GetConfig().GetName()
	}

	stream, err := cl.DNSQueries.WatchQueries(cmd.Context(), req)
	if err != nil {
		return err
	}
	if !o.IsJSON() {
		c.Printf(logRow, "TIME", "CONTAINER", "TYPE", "NAME", "CODE", "FROM", "TOOK", "ADDRESSES")
	}
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, q := range res.GetQueries() {
			o.show(c, q, names[q.GetOwner()])
		}
	}
}

const logRow = "%-25s  %-20s  %-5s  %-40s  %-8s  %-20s  %-8s  %s\n"

// logLine is a line of the format json.
type logLine struct {
	Time      string
	ID        string
	Container string `json:",omitempty"`
	Type      string
	Name      string
	Code      string
	Source    string
	Server    string `json:",omitempty"`
	Seconds   float64
	Addresses []string `json:",omitempty"`
}

func (o *logOptions) show(c *cli.CLI, q *dnsv1.Query, name string) {
	when, took := q.GetTime().AsTime().Local().Format(time.RFC3339), q.GetTook().AsDuration()
	if o.IsJSON() {
		text, err := json.Marshal(logLine{when, q.GetOwner(), name, q.GetType(), q.GetName(), q.GetCode(),
			q.GetSource(), q.GetServer(), took.Seconds(), q.GetAddresses()})
		if err == nil {
			c.Println(string(text))
		}
		return
	}

	from := q.GetSource()
	if q.GetServer() != "" {
		from = q.GetServer()
	}
	c.Printf(logRow, when, o.NameOf(q.GetOwner(), name), q.GetType(), q.GetName(), q.GetCode(), from,
		took.Round(10*time.Microsecond),
		strings.Join(q.GetAddresses(), " "))
}
