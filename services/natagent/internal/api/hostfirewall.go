package api

import (
	"context"
	"slices"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
)

// HostFirewallChecker checks bindings against the host firewall.
type HostFirewallChecker interface {
	Review(ctx context.Context, some []port.Binding) (warnings []string, err error)
}

// CheckHostFirewall returns warnings about published ports that the host firewall blocks.
func (s *Server) CheckHostFirewall(ctx context.Context,
	req *natv1.CheckHostFirewallRequest) (*natv1.CheckHostFirewallResponse, error) {
	bindings, err := portpb.BindingsFromProto(req.GetBindings())
	if err != nil {
		return nil, err
	}
	bindings = slices.DeleteFunc(bindings, func(b port.Binding) bool { return b.Direct() || b.Host.IsZero() })
	if s.Reviewer == nil || len(bindings) == 0 {
		return &natv1.CheckHostFirewallResponse{}, nil
	}

	warnings, err := s.Reviewer.Review(ctx, bindings)
	if err != nil {
		return nil, err
	}

	return &natv1.CheckHostFirewallResponse{Warnings: warnings}, nil
}
