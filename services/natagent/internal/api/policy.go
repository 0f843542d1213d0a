package api

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	policy "github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// policyServer implements fairlead.nat.v1.PolicyService.
type policyServer struct {
	natv1.UnimplementedPolicyServiceServer
	policies Policies
}

// PutPolicy implements PolicyServiceServer.
func (s *policyServer) PutPolicy(ctx context.Context, req *natv1.PutPolicyRequest) (*natv1.PutPolicyResponse, error) {
	c := &plan.Container{Owner: req.GetOwner(), Name: req.GetOwnerName(), Rules: req.GetRules(),
		Ingress: req.GetIngress(), Limits: limitsFromProto(req.GetLimits())}
	for _, e := range req.GetEndpoints() {
		addresses, err := policyAddresses(e.GetAddresses())
		if err != nil {
			return nil, err
		}
		c.Endpoints = append(c.Endpoints, plan.Endpoint{NetworkID: e.GetNetworkId(), MAC: e.GetMacAddress(),
			Addresses: addresses, Inside: e.GetInside(), Interface: e.GetInterface(),
			Limits: limitsFromProto(e.GetLimits()), BytesOut: e.GetLimits().GetBytesOut()})
	}
	if c.IsEmpty() {
		return nil, fault.Invalidf("policy", "rules", "no rules, use none to allow nothing")
	}
	return &natv1.PutPolicyResponse{}, s.policies.Put(ctx, c, req.GetStarting())
}

// PutPeers implements PolicyServiceServer.
func (s *policyServer) PutPeers(ctx context.Context, req *natv1.PutPeersRequest) (*natv1.PutPeersResponse, error) {
	var all []plan.Peer
	for _, p := range req.GetPeers() {
		own, err := prefixesFromProto(p.GetName(), p.GetPrefixes())
		if err != nil {
			return nil, err
		}
		others, err := prefixesFromProto(p.GetName(), p.GetOtherHosts())
		if err != nil {
			return nil, err
		}
		all = append(all, plan.Peer{Name: p.GetName(), Prefixes: own, OtherHosts: others})
	}
	return &natv1.PutPeersResponse{}, s.policies.PutPeers(ctx, all, req.GetOtherHostsUnknown())
}

// prefixesFromProto parses addresses of a peer.
func prefixesFromProto(peer string, texts []string) (all []netip.Prefix, err error) {
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fault.Invalidf("policy", "peers", "%s: %q is not an IP prefix", peer, text)
		}
		all = append(all, prefix.Masked())
	}
	return all, nil
}

// policyAddresses parses the addresses of an endpoint or an answer.
func policyAddresses(texts []string) (all []netip.Addr, err error) {
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fault.Invalidf("policy", "addresses", "%q is not an IP address", text)
		}
		all = append(all, a.Unmap())
	}
	return all, nil
}

// DeletePolicy implements PolicyServiceServer.
func (s *policyServer) DeletePolicy(ctx context.Context,
	req *natv1.DeletePolicyRequest) (*natv1.DeletePolicyResponse, error) {
	return &natv1.DeletePolicyResponse{}, s.policies.Release(ctx, req.GetOwner())
}

// LearnAddresses implements PolicyServiceServer.
func (s *policyServer) LearnAddresses(ctx context.Context,
	req *natv1.LearnAddressesRequest) (*natv1.LearnAddressesResponse, error) {
	addresses, err := policyAddresses(req.GetAddresses())
	if err != nil {
		return nil, err
	}
	answerable, err := s.policies.Learn(ctx, req.GetOwner(), answered.Answer{Name: req.GetName(), Addresses: addresses,
		TTL: req.GetTtl().AsDuration(), Upstream: req.GetUpstream()})
	if err != nil || answerable <= 0 {
		return &natv1.LearnAddressesResponse{}, err
	}
	return &natv1.LearnAddressesResponse{Answerable: durationpb.New(answerable)}, nil
}

// RecordRefusedName implements PolicyServiceServer.
func (s *policyServer) RecordRefusedName(ctx context.Context,
	req *natv1.RecordRefusedNameRequest) (*natv1.RecordRefusedNameResponse, error) {
	return &natv1.RecordRefusedNameResponse{}, s.policies.RecordName(ctx, req.GetOwner(), req.GetName(), req.GetLost())
}

// ListPolicies implements PolicyServiceServer.
func (s *policyServer) ListPolicies(ctx context.Context,
	req *natv1.ListPoliciesRequest) (*natv1.ListPoliciesResponse, error) {
	all, err := s.policies.List(ctx)
	if err != nil {
		return nil, err
	}
	resp := &natv1.ListPoliciesResponse{}
	for _, c := range all {
		p := &natv1.Policy{Owner: c.Owner, OwnerName: c.Name, Rules: c.Rules, Ingress: c.Ingress,
			Limits: limitsToProto(c.Limits, 0)}
		p.NetworkLimits = networkLimitsToProto(c)
		if !req.GetWithoutRefused() {
			p.Refused = s.policies.Refused(c.Owner)
		}
		resp.Policies = append(resp.Policies, p)
	}
	return resp, nil
}

// WatchRefusals implements PolicyServiceServer.
func (s *policyServer) WatchRefusals(req *natv1.WatchRefusalsRequest,
	stream grpc.ServerStreamingServer[natv1.WatchRefusalsResponse]) error {
	var since time.Time
	if req.GetSince() != nil {
		since = req.GetSince().AsTime()
	}

	for first := true; ; first = false { // the first response, even if it is empty, says that records follow
		found, lost, more := s.refusals(req, since)
		resp := &natv1.WatchRefusalsResponse{Lost: lost}
		for _, r := range found {
			since = r.Time
			if (req.GetOwner() == "" || req.GetOwner() == r.Owner) && req.GetObserved() == r.IsObserved() {
				resp.Refusals = append(resp.Refusals, refusalToProto(r))
			}
		}
		if first || len(resp.Refusals) > 0 {
			if err := stream.Send(resp); err != nil {
				return err
			}
		}
		if !req.GetFollow() {
			return nil
		}

		select {
		case <-more:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// refusals returns the refusals after a time, and a channel that the next one closes.
func (s *policyServer) refusals(req *natv1.WatchRefusalsRequest,
	since time.Time) (found []refusals.Refusal, lost uint64, more <-chan struct{}) {
	if req.GetFirst() {
		found, more = s.policies.Firsts(since)
		return found, 0, more
	}
	return s.policies.Since(since)
}

func limitsFromProto(l *natv1.Limits) policy.Limits {
	return policy.Limits{Connections: l.GetConnections(), Packets: policy.Packets{In: l.GetPacketsIn(),
		Out: l.GetPacketsOut()}}
}

func limitsToProto(l policy.Limits, bytesOut uint64) *natv1.Limits {
	if !l.IsLimited() && bytesOut == 0 {
		return nil
	}
	return &natv1.Limits{Connections: l.Connections, PacketsIn: l.Packets.In, PacketsOut: l.Packets.Out,
		BytesOut: bytesOut}
}

func refusalToProto(r refusals.Refusal) *natv1.Refusal {
	p := &natv1.Refusal{Time: timestamppb.New(r.Time), Owner: r.Owner, OwnerName: r.Name, Reason: r.Reason,
		Protocol: r.Protocol, Port: uint32(r.Port), Name: r.Domain, Incoming: r.Incoming,
		Rule: r.Rule}
	if r.Address.IsValid() {
		p.Address = r.Address.String()
	}
	return p
}

// networkLimitsToProto returns the limits of single endpoints, by network ID.
func networkLimitsToProto(c *plan.Container) map[string]*natv1.Limits {
	all := map[string]*natv1.Limits{}
	for _, e := range c.Endpoints {
		if l := limitsToProto(e.Limits, e.BytesOut); l != nil {
			all[e.NetworkID] = l
		}
	}
	return all
}
