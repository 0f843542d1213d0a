package api

import (
	"context"
	"net/netip"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// HostFirewallChecker checks bindings against the host firewall.
type HostFirewallChecker interface {
	Review(ctx context.Context, some []publication.Binding) (warnings []string, err error)
}

// CheckHostFirewall returns warnings about published ports that the host firewall blocks.
func (s *Server) CheckHostFirewall(ctx context.Context,
	req *natv1.CheckHostFirewallRequest) (*natv1.CheckHostFirewallResponse, error) {
	bindings, err := bindingsOf(req.GetBindings())
	if err != nil {
		return nil, err
	}
	if s.Reviewer == nil || len(bindings) == 0 {
		return &natv1.CheckHostFirewallResponse{}, nil
	}

	warnings, err := s.Reviewer.Review(ctx, bindings)
	if err != nil {
		return nil, err
	}

	return &natv1.CheckHostFirewallResponse{Warnings: warnings}, nil
}

// bindingsOf converts the bindings that have a host port.
func bindingsOf(all []*natv1.PortBinding) ([]publication.Binding, error) {
	var out []publication.Binding
	for _, b := range all {
		if b.GetHostPort() == 0 {
			continue
		}
		host, err := netip.ParseAddr(b.GetHostIp())
		if err != nil {
			return nil, fault.Invalidf("publication", "host_ip", "invalid IP address: %s", b.GetHostIp())
		}
		from, err := sources.Parse(b.GetAllowedSources())
		if err != nil {
			return nil, fault.Invalidf("publication", "sources", "%s", err)
		}
		if b.GetHostPort() > 65535 || b.GetHostPortEnd() > 65535 {
			return nil, fault.Invalidf("publication", "host_port", "%d is not a valid port, must be 1 to 65535",
				max(b.GetHostPort(), b.GetHostPortEnd()))
		}
		out = append(out, publication.Binding{Protocol: protocolOf(b.GetProtocol()), HostIP: host.Unmap(),
			HostPort:    uint16(b.GetHostPort()),
			HostPortEnd: uint16(b.GetHostPortEnd()), Sources: from})
	}

	return out, nil
}
