package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/command/traffic"
	"github.com/fairlead/fairlead/ctl/internal/escape"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

type deniedOptions struct{ cli.Records }

func newDenied(c *cli.CLI) *cobra.Command {
	var o deniedOptions
	cmd := &cobra.Command{
		Use:   "denied [OPTIONS]",
		Short: "Show what egress policies refused",
		Long: `Show what egress policies refused, oldest first.

NAME is the name that the container had resolved, or the container that has the address now, with its
host if that is another one of the fleet.
Reasons: policy (no rule allows it), rule (a rule denies it), name (a name that is not allowed),
server (another server name on port 443 or 80), quic (QUIC without a rule for it), dns (another name server
than the embedded one), metadata (a metadata service), connections (more than --max-connections).`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, c) },
	}
	o.AddFlags(cmd)
	return cmd
}

func (o *deniedOptions) run(cmd *cobra.Command, c *cli.CLI) error {
	since, err := o.Since(cmd)
	if err != nil {
		return err
	}
	req := &natv1.WatchRefusalsRequest{Follow: o.Follow, Since: since}
	cl, err := c.Client()
	if err != nil {
		return err
	}
	if o.Container != "" {
		if req.Owner, err = containerID(cmd.Context(), cl, o.Container); err != nil {
			return err
		}
	}

	if !o.IsJSON() {
		c.Printf(deniedRow, "TIME", "CONTAINER", "REASON", "PROTO", "DESTINATION", "NAME")
	}
	lost, err := o.watch(cmd.Context(), c, cl, req)
	if lost > 0 {
		c.Warn(fmt.Sprintf("records were lost %d times: there were too many; policy ls has exact numbers", lost))
	}
	return err
}

// retryAfter is the time between attempts to continue.
const retryAfter = 500 * time.Millisecond

// watch prints refusals and returns how often records were lost. With --follow it continues after the last
// record when the agent was restarted.
func (o *deniedOptions) watch(ctx context.Context, c *cli.CLI, cl *client.Client,
	req *natv1.WatchRefusalsRequest) (lost uint64, err error) {
	names := traffic.NewNames(cl)
	for began, waits := false, false; ; {
		w, err := refusals(ctx, cl, req, func(r *natv1.Refusal) {
			req.Since = r.GetTime()
			peer := ""
			if r.GetName() == "" && r.GetAddress() != "" {
				peer = names.Name(ctx, r.GetAddress())
			}
			o.show(c, r, peer)
		})
		lost, began, waits = lost+w.lost, began || w.answered, waits && !w.answered
		if !o.Follow || !began || !fault.Is(err, fault.Unavailable) {
			return lost, err
		}

		if !waits {
			c.Warn("natagent does not respond; refusals are shown when it runs again")
			waits = true
		}
		select {
		case <-ctx.Done():
			return lost, ctx.Err()
		case <-time.After(retryAfter):
		}
	}
}

const deniedRow = "%-25s  %-20s  %-8s  %-5s  %-28s  %s\n"

// show prints a refusal. peer is the container that has the address now.
func (o *deniedOptions) show(c *cli.CLI, r *natv1.Refusal, peer string) {
	when := r.GetTime().AsTime().Local().Format(time.RFC3339)
	if o.IsJSON() {
		line, err := json.Marshal(deniedLine{when, r.GetOwner(), r.GetOwnerName(), r.GetReason(), r.GetProtocol(),
			r.GetAddress(), r.GetPort(), r.GetName(), peer, r.GetIncoming(),
			r.GetRule()})
		if err == nil {
			c.Println(string(line))
		}
		return
	}
	c.Printf(deniedRow, when, o.NameOf(r.GetOwner(), r.GetOwnerName()), r.GetReason(), r.GetProtocol(), destination(r),
		escape.Line(cmp.Or(r.GetName(), peer)))
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
	Name      string `json:",omitempty"` // that the container had resolved
	Peer      string `json:",omitempty"` // the container that has the address now
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
