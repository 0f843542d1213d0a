package protoconv

import (
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// PolicyFromProto converts a policy. Its Validate checks the content.
func PolicyFromProto(in *containerv1.NamedPolicy) *policy.Policy {
	p := &policy.Policy{Name: in.GetName(), Egress: EgressFromProto(in.GetEgress()),
		Ingress:  EgressFromProto(in.GetIngress()),
		Selector: policy.Selector{Containers: in.GetContainers(), Networks: in.GetNetworks(), Labels: in.GetLabels()}}
	for _, t := range in.GetTests() {
		p.Tests = append(p.Tests, policy.Test{Container: t.GetContainer(), Peer: t.GetPeer(), Incoming: t.GetIncoming(),
			Allowed: t.GetAllowed()})
	}
	return p
}

// PolicyToProto converts a policy to a message.
func PolicyToProto(p *policy.Policy) *containerv1.NamedPolicy {
	out := &containerv1.NamedPolicy{Name: p.Name, Egress: p.Egress, Ingress: p.Ingress,
		Containers: p.Selector.Containers, Networks: p.Selector.Networks, Labels: p.Selector.Labels}
	for _, t := range p.Tests {
		out.Tests = append(out.Tests, PolicyTestToProto(t))
	}
	return out
}

// PolicyTestToProto converts a test to a message.
func PolicyTestToProto(t policy.Test) *containerv1.PolicyTest {
	return &containerv1.PolicyTest{Container: t.Container, Peer: t.Peer, Incoming: t.Incoming, Allowed: t.Allowed}
}

// PolicyDecisionToProto converts a decision to a message.
func PolicyDecisionToProto(d policy.Decision) *containerv1.PolicyDecision {
	return &containerv1.PolicyDecision{Allowed: d.Allowed, Rule: d.Rule, Source: d.Source, Reason: d.Reason,
		Target: d.Target}
}
