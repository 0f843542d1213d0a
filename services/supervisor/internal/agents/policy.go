package agents

import (
	"context"
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// PutPolicy puts the egress policy of a container in force, on all of its endpoints. It does nothing
// without rules, and fails if an endpoint has no bridge.
func (a *Agents) PutPolicy(ctx context.Context, uid, name string, rules []string,
	endpoints []container.Endpoint) error {
	if len(rules) == 0 {
		return nil
	}
	req := &natv1.PutPolicyRequest{Owner: uid, OwnerName: name, Rules: rules}
	for _, e := range endpoints {
		if e.Bridge == "" {
			return fault.New(fault.Invalid, "container "+name, fmt.Sprintf(
				"egress policy cannot be enforced on network %s of driver %s", e.NetworkName, e.Driver),
				fault.WithField("egress"), fault.WithHint("use a bridge network"))
		}
		req.Endpoints = append(req.Endpoints, &natv1.PolicyEndpoint{NetworkId: e.NetworkID, MacAddress: e.MAC,
			Addresses: e.Addresses()})
	}
	_, err := a.cfg.Policies.PutPolicy(ctx, req)
	return err
}

// DeletePolicy removes the egress policy of a container.
func (a *Agents) DeletePolicy(ctx context.Context, uid string) error {
	_, err := a.cfg.Policies.DeletePolicy(ctx, &natv1.DeletePolicyRequest{Owner: uid})
	return err
}

// PolicyOwners returns the containers with an egress policy in natagent.
func (a *Agents) PolicyOwners(ctx context.Context) (owners []string, err error) {
	resp, err := a.cfg.Policies.ListPolicies(ctx, &natv1.ListPoliciesRequest{})
	for _, p := range resp.GetPolicies() {
		owners = append(owners, p.GetOwner())
	}
	return owners, err
}
