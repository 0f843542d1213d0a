package agents

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// PutPolicy puts the rules of a container in force, on all of its endpoints. starting says that none of its
// processes runs. It fails if an endpoint has no bridge and is not inside, unless the rules restrict nothing.
func (a *Agents) PutPolicy(ctx context.Context, uid, name string, rules policy.Rules,
	endpoints []container.Endpoint, starting bool) error {
	req := &natv1.PutPolicyRequest{Owner: uid, OwnerName: name, Rules: rules.Egress, Ingress: rules.Ingress,
		Starting: starting, Limits: limitsToProto(rules.Limits, 0)}
	for _, e := range endpoints {
		if e.Bridge == "" && !rules.Restricts() {
			continue
		}
		if e.Bridge == "" && !policy.IsInside(e) {
			return fault.New(fault.Invalid, "container "+name, fmt.Sprintf(
				"egress policy cannot be enforced on network %s of driver %s", e.NetworkName, e.Driver),
				fault.WithField("egress"), fault.WithHint("use a bridge network"))
		}
		req.Endpoints = append(req.Endpoints, &natv1.PolicyEndpoint{NetworkId: e.NetworkID, MacAddress: e.MAC,
			Addresses: e.Addresses(), Inside: policy.IsInside(e), Interface: e.Interface,
			Limits: networkLimitsToProto(rules.Networks, e.NetworkID)})
	}
	_, err := a.cfg.Policies.PutPolicy(ctx, req)
	return err
}

func limitsToProto(l egress.Limits, bytesOut uint64) *natv1.Limits {
	if !l.IsLimited() && bytesOut == 0 {
		return nil
	}
	return &natv1.Limits{Connections: l.Connections, PacketsIn: l.Packets.In, PacketsOut: l.Packets.Out,
		BytesOut: bytesOut}
}

func limitsFromProto(l *natv1.Limits) egress.Limits {
	return egress.Limits{Connections: l.GetConnections(), Packets: egress.Packets{In: l.GetPacketsIn(),
		Out: l.GetPacketsOut()}}
}

// networkLimitsToProto returns the limits of one network, or nil.
func networkLimitsToProto(all []policy.NetworkLimits, networkID string) *natv1.Limits {
	for _, l := range all {
		if l.NetworkID == networkID {
			return limitsToProto(l.Limits, l.BytesOut)
		}
	}
	return nil
}

// DeletePolicy removes the rules of a container.
func (a *Agents) DeletePolicy(ctx context.Context, uid string) error {
	_, err := a.cfg.Policies.DeletePolicy(ctx, &natv1.DeletePolicyRequest{Owner: uid})
	return err
}

// PeerAddresses are the addresses of a container, network or label.
type PeerAddresses struct{ Own, OtherHosts []netip.Prefix }

// Equal reports whether the addresses are equal.
func (p PeerAddresses) Equal(o PeerAddresses) bool {
	return slices.Equal(p.Own, o.Own) && slices.Equal(p.OtherHosts, o.OtherHosts)
}

// PutPeers sets the addresses of all containers, networks and labels that rules name. If those of other hosts
// are not known, the last known ones remain.
func (a *Agents) PutPeers(ctx context.Context, all map[string]PeerAddresses, othersKnown bool) error {
	req := &natv1.PutPeersRequest{OtherHostsUnknown: !othersKnown}
	for name, p := range all {
		req.Peers = append(req.Peers, &natv1.Peer{Name: name, Prefixes: prefixTexts(p.Own),
			OtherHosts: prefixTexts(p.OtherHosts)})
	}
	_, err := a.cfg.Policies.PutPeers(ctx, req)
	return err
}

func prefixTexts(all []netip.Prefix) (texts []string) {
	for _, p := range all {
		texts = append(texts, p.String())
	}
	return texts
}

// Subnets returns the subnets of a network.
func (a *Agents) Subnets(ctx context.Context, ref string) (all []netip.Prefix, err error) {
	resp, err := a.cfg.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: ref})
	if err != nil {
		return nil, err
	}
	for _, p := range resp.GetNetwork().GetPools() {
		if prefix, err := netip.ParsePrefix(p.GetSubnet()); err == nil {
			all = append(all, prefix.Masked())
		}
	}
	return all, nil
}

// Policies returns the rules in force in natagent, by container.
func (a *Agents) Policies(ctx context.Context) (map[string]policy.Rules, error) {
	resp, err := a.cfg.Policies.ListPolicies(ctx, &natv1.ListPoliciesRequest{WithoutRefused: true})
	all := map[string]policy.Rules{}
	for _, p := range resp.GetPolicies() {
		rules := policy.Rules{Egress: p.GetRules(), Ingress: p.GetIngress(), Limits: limitsFromProto(p.GetLimits())}
		for networkID, l := range p.GetNetworkLimits() {
			rules.Networks = append(rules.Networks, policy.NetworkLimits{NetworkID: networkID,
				Limits: limitsFromProto(l), BytesOut: l.GetBytesOut()})
		}
		policy.SortNetworks(rules.Networks)
		all[p.GetOwner()] = rules
	}
	return all, err
}

// PolicyOwners returns the containers with rules in natagent.
func (a *Agents) PolicyOwners(ctx context.Context) (owners []string, err error) {
	all, err := a.Policies(ctx)
	for owner := range all {
		owners = append(owners, owner)
	}
	return owners, err
}
