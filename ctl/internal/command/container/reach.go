package container

import (
	"context"
	"net/netip"
	"strings"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// printReach prints the allowed sources of each binding. The agent explains a connection from a
// documentation address (RFC 5737, RFC 3849).
func printReach(ctx context.Context, c *cli.CLI, args []string) error {
	if len(args) > 1 {
		return fault.Invalidf("port --reach "+strings.Join(args, " "), "reach", "shows all ports: omit the port")
	}

	cl, err := c.Client()
	if err != nil {
		return err
	}

	target, err := get(ctx, cl, args[0])
	if err != nil {
		return err
	}

	rules, err := ingressRules(ctx, cl, args[0])
	if err != nil {
		return err
	}

	for _, b := range format.SortedBindings(target.GetBindings()) {
		who, notes, err := describeReach(ctx, cl, b, rules)
		if err != nil {
			return err
		}
		c.Printf("%s -> %s: %s\n", format.ContainerPort(b), format.HostPort(b), who)
		for _, o := range notes {
			c.Printf("    note: %s\n", o)
		}
	}

	return nil
}

// ingressRules returns the rules for incoming traffic of a container with their sources, empty without any.
func ingressRules(ctx context.Context, cl *client.Client, ref string) (string, error) {
	resp, err := cl.NamedPolicies.ExplainPolicy(ctx, &containerv1.ExplainPolicyRequest{Reference: ref})
	if err != nil {
		return "", err
	}
	var all []string
	for _, s := range resp.GetSources() {
		if len(s.GetIngress()) > 0 {
			all = append(all, strings.Join(s.GetIngress(), ",")+" of "+s.GetName())
		}
	}
	return strings.Join(all, ", "), nil
}

// describeReach returns the sources that can connect to a binding, with the rule, and notes about
// foreign rules. rules are those of the container's ingress policy.
func describeReach(ctx context.Context, cl *client.Client, b *natv1.PortBinding, rules string) (who string,
	notes []string, err error) {
	at, err := netip.ParseAddr(b.GetHostIp())
	if err != nil {
		return "", nil, fault.Invalidf("binding "+format.HostPort(b), "host_ip", "%s is not a valid IP address",
			b.GetHostIp())
	}

	req := &natv1.ExplainConnectionRequest{Source: "203.0.113.1", Destination: b.GetHostIp(),
		Port: max(b.GetHostPort(), 1), Protocol: b.GetProtocol(), WithoutPolicies: true}
	if at.Is6() {
		req.Source = "2001:db8::1"
	}

	switch {
	case b.GetProtocol() == natv1.Protocol_PROTOCOL_ALL:
		req.Protocol = natv1.Protocol_PROTOCOL_TCP
	case b.GetHostPort() == 0: // direct access
		req.Destination, req.Port = b.GetContainerIp(), b.GetContainerPort()
	}

	who = "any source"
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
	only := ""
	if rules != "" {
		only = ", as far as the ingress policy accepts it: " + rules
	}
	if !resp.GetAllowed() {
		return "the host only" + only + ": " + stepText(last), nil, nil
	}

	return who + ", and the host" + only + ruleText(last), resp.GetForeignRules(), nil
}

// stepText returns the effect of a rule and its place in the firewall.
func stepText(s *natv1.ExplainStep) string { return s.GetText() + ruleText(s) }

func ruleText(s *natv1.ExplainStep) string {
	if s.GetRule() == "" {
		return ""
	}
	return " (" + s.GetRule() + ")"
}
