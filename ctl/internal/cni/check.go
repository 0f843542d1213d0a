package cni

import (
	"context"
	"strings"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Check compares an attachment with the kernel, with the result of ADD, which may be nil, and with the
// published ports.
func (p *Plugin) Check(ctx context.Context, a Attachment, c Config, result *types100.Result) error {
	got, err := p.Sandboxes.CheckSandbox(ctx, &networkv1.CheckSandboxRequest{Owner: Owner(a.ContainerID)})
	if err != nil {
		return err
	}
	e, ok := endpointOf(got.GetSandbox(), a.Interface)
	if !ok {
		return differs(a, "it has no interface "+a.Interface)
	}
	if len(got.GetDifferences()) > 0 {
		return differs(a, strings.Join(got.GetDifferences(), "; "))
	}

	if text := missingAddress(result, a, e); text != "" {
		return differs(a, "its address is "+e.GetIpv4Address()+", not "+text)
	}
	mappings := c.mappings()
	if len(mappings) == 0 {
		return nil
	}
	bindings, err := p.publication(ctx, Owner(a.ContainerID))
	if err != nil {
		return err
	}
	if m := missing(bindings, mappings); m != nil {
		return fault.New(fault.Conflict, "container "+a.ContainerID,
			"its container port "+portText(m.GetContainerPort())+
				" is not published at host port "+portText(m.GetHostPort()))
	}
	return nil
}

func differs(a Attachment, text string) error {
	return fault.New(fault.Conflict, "container "+a.ContainerID, text,
		fault.WithHint("netagent repairs external changes; if it does not, call DEL and ADD"))
}

// missingAddress returns an address that ADD returned for the interface but the endpoint does not have.
// It is empty if there is none.
func missingAddress(result *types100.Result, a Attachment, e *networkv1.Endpoint) string {
	if result == nil {
		return ""
	}
	for _, ip := range result.IPs {
		i := ip.Interface
		if i == nil || *i < 0 || *i >= len(result.Interfaces) || result.Interfaces[*i].Name != a.Interface {
			continue
		}
		if text := ip.Address.String(); text != e.GetIpv4Address() && text != e.GetIpv6Address() {
			return text
		}
	}
	return ""
}

// Status returns an error if an attachment would fail now: a service is not ready, or the network does
// not exist, or it has no free address and does not grow.
func (p *Plugin) Status(ctx context.Context, c Config) error {
	if err := p.Ready(ctx); err != nil {
		return err
	}
	got, err := p.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: c.Network})
	if err != nil {
		return err
	}
	for _, pool := range got.GetNetwork().GetPools() {
		if pool.GetFree() == 0 && pool.GetGrowLimit() == "" {
			return fault.New(fault.Exhausted, "network "+c.Network, "has no free address in "+pool.GetSubnet(),
				fault.WithHint("delete pods, or extend it: fairlead network update --subnet"))
		}
	}
	return nil
}
