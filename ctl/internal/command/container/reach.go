package container

import (
	"context"
	"net/netip"
	"strings"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// printReach prints of each binding who reaches it. It asks for somebody far away, of an address that documentation is written with.
func printReach(ctx context.Context, c *cli.CLI, args []string) error {
	if len(args) > 1 {
		return fault.Invalidf("port --reach "+strings.Join(args, " "), "reach", "it tells of all ports: name the container only")
	}
	cl, err := c.Client()
	if err != nil {
		return err
	}
	target, err := get(ctx, cl, args[0])
	if err != nil {
		return err
	}
	for _, b := range format.SortedBindings(target.GetBindings()) {
		who, others, err := describeReach(ctx, cl, b)
		if err != nil {
			return err
		}
		c.Printf("%s -> %s: %s\n", format.ContainerPort(b), format.HostPort(b), who)
		for _, o := range others {
			c.Printf("    note: %s\n", o)
		}
	}
	return nil
}

// describeReach tells in words who reaches a binding.
func describeReach(ctx context.Context, cl *client.Client, b *natv1.PortBinding) (who string, others []string, err error) {
	at, err := netip.ParseAddr(b.GetHostIp())
	if err != nil {
		return "", nil, fault.Invalidf("binding "+format.HostPort(b), "host_ip", "%s is no address", b.GetHostIp())
	}
	req := &natv1.ExplainConnectionRequest{Source: "203.0.113.1", Destination: b.GetHostIp(), Port: max(b.GetHostPort(), 1), Protocol: b.GetProtocol()}
	if at.Is6() {
		req.Source = "2001:db8::1"
	}
	switch {
	case b.GetProtocol() == natv1.Protocol_PROTOCOL_ALL:
		req.Protocol = natv1.Protocol_PROTOCOL_TCP
	case b.GetHostPort() == 0: // open at the container's own address
		req.Destination, req.Port = b.GetContainerIp(), b.GetContainerPort()
	}
	who = "everybody"
	if len(b.GetAllowedSources()) > 0 {
		who = strings.Join(b.GetAllowedSources(), ", ")
		if from, err := netip.ParsePrefix(b.GetAllowedSources()[0]); err == nil {
			req.Source = from.Addr().String()
		}
	}
	resp, err := cl.Publications.ExplainConnection(ctx, req)
	if err != nil {
		return "", nil, err
	}
	last := resp.GetSteps()[len(resp.GetSteps())-1]
	if !resp.GetAllowed() {
		return "the host itself only: " + stepText(last), nil, nil
	}
	return who + ", and the host itself" + ruleText(last), resp.GetForeignRules(), nil
}

// stepText is what a rule does, and where it stands.
func stepText(s *natv1.ExplainStep) string { return s.GetText() + ruleText(s) }

func ruleText(s *natv1.ExplainStep) string {
	if s.GetRule() == "" {
		return ""
	}
	return " (" + s.GetRule() + ")"
}
