package policy

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/id"
)

type deniedOptions struct {
	follow, noTrunc          bool
	since, container, format string
}

func newDenied(c *cli.CLI) *cobra.Command {
	var o deniedOptions
	cmd := &cobra.Command{
		Use:   "denied [OPTIONS]",
		Short: "Show what egress policies refused",
		Long: `Show what egress policies refused, oldest first.

Reasons: policy (no rule allows it), rule (a rule denies it), name (a name that is not allowed),
server (another server name on port 443 or 80), quic (QUIC without a rule for it), dns (another name server
than the embedded one), metadata (a metadata service), connections (more than --max-connections).`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, c) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "Continue with new ones")
	f.StringVar(&o.since, "since", "", "Show those since a time: a date, Unix seconds or an age such as 10m")
	f.StringVar(&o.container, "container", "", "Show those of one container")
	f.StringVar(&o.format, "format", format.Table, "Output format: table or json")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Print full container IDs")
	return cmd
}

func (o *deniedOptions) run(cmd *cobra.Command, c *cli.CLI) error {
	if o.format != format.Table && o.format != format.JSON {
		return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure,
			Err: fmt.Errorf("unknown format %q, must be table or json", o.format)}
	}
	req := &natv1.WatchRefusalsRequest{Follow: o.follow}
	if o.since != "" {
		t, err := cli.ParseTime("--since", o.since, time.Now())
		if err != nil {
			return err
		}
		req.Since = timestamppb.New(t)
	}

	cl, err := c.Client()
	if err != nil {
		return err
	}
	if o.container != "" {
		if req.Owner, err = containerID(cmd.Context(), cl, o.container); err != nil {
			return err
		}
	}

	if o.format == format.Table {
		c.Printf(deniedRow, "TIME", "CONTAINER", "REASON", "PROTO", "DESTINATION", "NAME")
	}
	lost, err := refusals(cmd.Context(), cl, req, func(r *natv1.Refusal) { o.show(c, r) })
	if lost > 0 {
		c.Warn(fmt.Sprintf("records were lost %d times: there were too many; policy ls has exact numbers", lost))
	}
	return err
}

const deniedRow = "%-25s  %-20s  %-8s  %-5s  %-28s  %s\n"

func (o *deniedOptions) show(c *cli.CLI, r *natv1.Refusal) {
	name := r.GetOwnerName()
	if name == "" {
		name = id.Short(r.GetOwner())
	}
	if o.noTrunc {
		name = r.GetOwner()
	}
	when := r.GetTime().AsTime().Local().Format(time.RFC3339)
	if o.format == format.JSON {
		line, err := json.Marshal(deniedLine{when, r.GetOwner(), r.GetOwnerName(), r.GetReason(), r.GetProtocol(),
			r.GetAddress(), r.GetPort(), r.GetName(), r.GetIncoming(),
			r.GetRule()})
		if err == nil {
			c.Println(string(line))
		}
		return
	}
	c.Printf(deniedRow, when, name, r.GetReason(), r.GetProtocol(), destination(r), r.GetName())
}

// deniedLine is a line of the format json.
type deniedLine struct {
	Time      string
	ID        string
	Container string
	Reason    string
	Protocol  string `json:",omitempty"`
	Address   string `json:",omitempty"`
	Port      uint32 `json:",omitempty"`
	Name      string `json:",omitempty"`
	Incoming  bool   `json:",omitempty"` // Address is the source
	Rule      string `json:",omitempty"` // for the reason rule
}

// destination returns the address and port of a refusal, with the source of an incoming connection.
func destination(r *natv1.Refusal) string {
	if r.GetIncoming() {
		return fmt.Sprintf("from %s to :%d", r.GetAddress(), r.GetPort())
	}
	if r.GetPort() == 0 {
		return r.GetAddress()
	}
	return net.JoinHostPort(r.GetAddress(), strconv.Itoa(int(r.GetPort())))
}
