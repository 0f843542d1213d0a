package container

import (
	"cmp"
	"context"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
)

// hostSource is the SOURCE argument for the host itself.
const hostSource = "host"

func newExplain(c *cli.CLI) *cobra.Command {
	var iface string
	cmd := &cobra.Command{
		Use:   "explain [OPTIONS] SOURCE ADDRESS:PORT[/PROTOCOL]",
		Short: "Show whether a connection is allowed, and by which rules",
		Long: `Show whether a connection is allowed, and by which rules.

SOURCE is an IP address, or "host". Policies of containers at both ends decide too. No packet is sent.
The exit code is 1 if the connection is blocked.`,
		Example: `  $ fairlead explain 192.168.8.2 192.168.8.115:8080
  allowed (container web)
    port 0.0.0.0:8080/tcp: DNAT to 172.17.0.2:80 (container web) (table inet fairlead, chain published)
    published port: accepted (table inet fairlead, chain to_bridge)`,
		Args: cli.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := explainRequest(args[0], args[1])
			if err != nil {
				return err
			}
			req.Interface = iface
			return explain(cmd.Context(), c, req)
		},
	}
	cmd.Flags().StringVar(&iface, "interface", "", "Host interface that receives the connection")
	return cmd
}

// explainRequest parses the source and the destination of a connection.
func explainRequest(source, destination string) (*natv1.ExplainConnectionRequest, error) {
	req := &natv1.ExplainConnectionRequest{Source: source}
	if source == hostSource {
		req.Source = ""
	} else if _, err := netip.ParseAddr(source); err != nil {
		return nil, fault.Invalidf("source "+source, "source", "must be an IP address, or host")
	}

	at, proto, _ := strings.Cut(destination, "/")
	to, err := netip.ParseAddrPort(at)
	if err != nil {
		return nil, fault.Invalidf("destination "+destination, "destination",
			"must be ADDRESS:PORT, such as 192.168.8.115:8080 or [fd00::1]:53/udp")
	}

	p := port.Protocol(cmp.Or(proto, string(port.TCP)))
	if p.Number() == 0 {
		return nil, fault.Invalidf("destination "+destination, "protocol", "invalid proto: %s", proto)
	}

	req.Destination, req.Port, req.Protocol = to.Addr().String(), uint32(to.Port()), portpb.ProtocolToProto(p)
	return req, nil
}

func explain(ctx context.Context, c *cli.CLI, req *natv1.ExplainConnectionRequest) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	resp, err := cl.Publications.ExplainConnection(ctx, req)
	if err != nil {
		return err
	}

	verdict := "blocked"
	switch {
	case resp.GetAllowed() && resp.GetContainer() != "":
		verdict = "allowed (container " + resp.GetContainer() + ")"
	case resp.GetAllowed():
		verdict = "allowed"
	}

	c.Println(verdict)
	for _, s := range resp.GetSteps() {
		c.Println("  " + stepText(s))
	}

	for _, o := range resp.GetForeignRules() {
		c.Println("  note: " + o)
	}

	if !resp.GetAllowed() {
		return &cli.ExitError{Code: 1}
	}

	return nil
}
