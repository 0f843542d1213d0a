package api

import (
	"context"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/follow"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

// Policies is the part of package follow that the handlers use.
type Policies interface {
	ApplyPolicies(ctx context.Context, put []*policy.Policy, dryRun bool) (follow.Applied, error)
	RemovePolicies(ctx context.Context, names []string) (changed int, err error)
	ListPolicies() (all []*policy.Policy, selected [][]string)
	ExplainPolicy(ctx context.Context, ref, peer string, incoming bool) ([]policy.Source, []policy.Decision, error)
}

// policyServer implements fairlead.container.v1.NamedPolicyService.
type policyServer struct {
	containerv1.UnimplementedNamedPolicyServiceServer
	policies Policies
}

// ApplyPolicies implements NamedPolicyServiceServer.
func (s *policyServer) ApplyPolicies(ctx context.Context,
	req *containerv1.ApplyPoliciesRequest) (*containerv1.ApplyPoliciesResponse, error) {
	var put []*policy.Policy
	for _, p := range req.GetPolicies() {
		put = append(put, protoconv.PolicyFromProto(p))
	}
	applied, err := s.policies.ApplyPolicies(ctx, put, req.GetDryRun())
	if err != nil {
		return nil, err
	}
	resp := &containerv1.ApplyPoliciesResponse{Changed: uint32(applied.Changed), Warnings: applied.Warnings}
	for _, r := range applied.Results {
		out := &containerv1.PolicyTestResult{Policy: r.Policy, Test: protoconv.PolicyTestToProto(r.Test),
			Decision: protoconv.PolicyDecisionToProto(r.Decision)}
		if r.Err != nil {
			out.Error = r.Err.Error()
		}
		resp.Results = append(resp.Results, out)
	}
	return resp, nil
}

// ListNamedPolicies implements NamedPolicyServiceServer.
func (s *policyServer) ListNamedPolicies(context.Context,
	*containerv1.ListNamedPoliciesRequest) (*containerv1.ListNamedPoliciesResponse, error) {
	resp := &containerv1.ListNamedPoliciesResponse{}
	all, selected := s.policies.ListPolicies()
	for i, p := range all {
		resp.Policies = append(resp.Policies, &containerv1.NamedPolicyStatus{Policy: protoconv.PolicyToProto(p),
			Selected: selected[i]})
	}
	return resp, nil
}

// RemovePolicies implements NamedPolicyServiceServer.
func (s *policyServer) RemovePolicies(ctx context.Context,
	req *containerv1.RemovePoliciesRequest) (*containerv1.RemovePoliciesResponse, error) {
	changed, err := s.policies.RemovePolicies(ctx, req.GetNames())
	return &containerv1.RemovePoliciesResponse{Changed: uint32(changed)}, err
}

// ExplainPolicy implements NamedPolicyServiceServer.
func (s *policyServer) ExplainPolicy(ctx context.Context,
	req *containerv1.ExplainPolicyRequest) (*containerv1.ExplainPolicyResponse, error) {
	sources, decisions, err := s.policies.ExplainPolicy(ctx, req.GetReference(), req.GetPeer(), req.GetIncoming())
	if err != nil {
		return nil, err
	}
	resp := &containerv1.ExplainPolicyResponse{}
	for _, source := range sources {
		resp.Sources = append(resp.Sources, &containerv1.PolicySource{Name: source.Name, Egress: source.Egress,
			Ingress: source.Ingress})
	}
	for _, d := range decisions {
		resp.Decisions = append(resp.Decisions, protoconv.PolicyDecisionToProto(d))
	}
	return resp, nil
}
