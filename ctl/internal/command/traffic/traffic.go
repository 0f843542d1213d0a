// Package traffic has the command that lists the connections of containers. natagent reads them from
// conntrack; names are those of the supervisor and of dnsagent.
package traffic

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// maxWaiting bounds the messages that wait for the directory.
const maxWaiting = 1024

type options struct {
	follow, noTrunc         bool
	container, peer, format string
	protocol                string
	port                    uint16
}

// Commands returns the command `fairlead connections`.
func Commands() []cli.Command { return []cli.Command{{Name: "connections", New: newConnections}} }

func newConnections(c *cli.CLI) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "connections [OPTIONS]",
		Short: "List the connections of containers",
		Long: `List the connections of containers.

PEER is another container, with its host if that is another one of the fleet, or the name that the
container resolved to the address. RULE is the rule of the container's egress policy that allows the
connection. SENT and RECEIVED are counted by the kernel if the sysctl
net.netfilter.nf_conntrack_acct is 1. Connections that do not pass the host's IP layer are not listed:
those of macvlan and ipvlan networks, and within one bridge without a policy.

A connection between two containers is listed once, as that of the client, also with --container of
the server.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, c) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "Continue with connections that begin and end")
	f.StringVar(&o.container, "container", "", "Show those of one container")
	f.StringVar(&o.peer, "peer", "", "Show those with a peer: an address or a name")
	f.StringVar(&o.protocol, "protocol", "", "Show those of one protocol, such as tcp")
	f.Uint16Var(&o.port, "port", 0, "Show those with a port on either side")
	f.StringVar(&o.format, "format", format.Table, "Output format: table or json")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Print full container IDs")
	return cmd
}

func (o *options) run(cmd *cobra.Command, c *cli.CLI) error {
	if o.format != format.Table && o.format != format.JSON {
		return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure,
			Err: fmt.Errorf("unknown format %q, must be table or json", o.format)}
	}
	if err := o.checkProtocol(); err != nil {
		return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
	}
	cl, err := c.Client()
	if err != nil {
		return err
	}

	req := &natv1.WatchConnectionsRequest{Follow: o.follow}
	if o.container != "" {
		res, err := cl.Containers.GetContainer(cmd.Context(), &containerv1.GetContainerRequest{Reference: o.container})
		if err != nil {
			return err
		}
		if req.Addresses = addresses(res.GetContainer()); len(req.Addresses) == 0 {
			return fmt.Errorf("container %s: has no address of its own", res.GetContainer().GetConfig().GetName())
		}
	}

	dir, err := readDirectory(cmd.Context(), cl)
	if err != nil {
		return err
	}
	if o.format == format.Table && o.follow {
		c.Println("EVENT  " + header())
	}
	return o.watch(cmd.Context(), c, cl, req, dir)
}

// checkProtocol checks the filter by protocol: as connections show it, a name or a number.
func (o *options) checkProtocol() error {
	names := []string{"", "tcp", "udp", "icmp", "sctp"}
	if _, err := strconv.ParseUint(o.protocol, 10, 8); err == nil || slices.Contains(names, o.protocol) {
		return nil
	}
	return fmt.Errorf("--protocol: unknown protocol %q, must be one of %s, or a number", o.protocol,
		strings.Join(names[1:], ", "))
}

// received is a message of the stream.
type received struct {
	res *natv1.WatchConnectionsResponse
	at  time.Time
	err error
}

// receive passes on what comes, up to an error, while lines wait for the directory. The kernel drops
// events otherwise.
func receive(stream natv1.ConnectionService_WatchConnectionsClient) <-chan received {
	all := make(chan received, maxWaiting)
	go func() {
		for {
			res, err := stream.Recv()
			all <- received{res, time.Now(), err}
			if err != nil {
				return
			}
		}
	}()
	return all
}

// watch prints connections: a list is sorted, events are printed as they come.
func (o *options) watch(ctx context.Context, c *cli.CLI, cl *client.Client, req *natv1.WatchConnectionsRequest,
	dir *directory) error {
	stream, err := cl.Connections.WatchConnections(ctx, req)
	if err != nil {
		return err
	}
	f := follower{read: func(ctx context.Context) (*directory, error) { return readDirectory(ctx, cl) }, now: time.Now,
		sleep: sleep, dir: dir, readAt: time.Now()}
	all := receive(stream)

	var lines []line
	var lost uint64
	for {
		next := <-all
		if errors.Is(next.err, io.EOF) {
			o.printSorted(c, lines)
			return nil
		}
		if next.err != nil {
			return next.err
		}
		if next.res.GetLost() > lost {
			lost = next.res.GetLost()
			c.Warn(fmt.Sprintf("events were lost %d times: there were too many", lost))
		}

		for _, one := range next.res.GetConnections() {
			if o.follow {
				dir = f.directory(ctx, one, next.at)
			}
			l, ok := dir.lineOf(one)
			switch {
			case !ok || !o.selects(l):
			case o.follow:
				o.print(c, l)
			default:
				lines = append(lines, l)
			}
		}
	}
}

// selects reports whether a line passes the filters. A connection between two containers is shown as
// that of the client.
func (o *options) selects(l line) bool {
	return (o.protocol == "" || o.protocol == l.Protocol) &&
		(o.port == 0 || uint32(o.port) == l.LocalPort || uint32(o.port) == l.PeerPort ||
			uint32(o.port) == l.TargetPort) &&
		(o.peer == "" || o.peer == l.PeerAddress || o.peer == l.TargetAddress || o.peer == l.Peer ||
			o.peer == l.peerName())
}

func (o *options) printSorted(c *cli.CLI, lines []line) {
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Direction, b.Direction),
			cmp.Compare(a.PeerAddress, b.PeerAddress), cmp.Compare(a.PeerPort, b.PeerPort),
			cmp.Compare(a.LocalPort, b.LocalPort))
	})
	if o.format == format.Table {
		c.Println(header())
	}
	for _, l := range lines {
		o.print(c, l)
	}
}

const row = "%-20s  %-3s  %-5s  %-5s  %-28s  %-24s  %-11s  %9s  %9s  %s"

func header() string {
	return fmt.Sprintf(row, "CONTAINER", "DIR", "PROTO", "PORT", "ADDRESS", "PEER", "STATE", "SENT", "RECEIVED", "RULE")
}

func (o *options) print(c *cli.CLI, l line) {
	if o.format == format.JSON {
		if text, err := json.Marshal(l); err == nil {
			c.Println(string(text))
		}
		return
	}
	name := l.Container
	if name == "" {
		name = id.Short(l.ID)
	}
	if o.noTrunc {
		name = l.ID
	}
	port, sent, received := "", "-", "-"
	if l.LocalPort != 0 {
		port = fmt.Sprint(l.LocalPort)
	}
	if l.Counted {
		sent, received = format.Size(int64(l.SentBytes)), format.Size(int64(l.ReceivedBytes))
	}
	text := fmt.Sprintf(row, name, l.Direction, l.Protocol, port, joinPort(l.PeerAddress, l.PeerPort), l.peerName(),
		l.State,
		sent, received, l.Rule)
	if o.follow {
		text = fmt.Sprintf("%-5s  %s", l.Event, text)
	}
	c.Println(text)
}
