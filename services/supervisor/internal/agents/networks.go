package agents

import (
	"context"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/egress/limitpb"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Network is a network of netagent.
type Network struct {
	ID, Name, Driver string
	Egress           []string        // rules of its containers without others
	Limits           egress.Defaults // of its containers without limits
	Bridge           string          // host interface; ports can be published if it is not empty
	Internal         bool
}

// Network returns the network with a name, ID or unique ID prefix.
func (a *Agents) Network(ctx context.Context, ref string) (Network, error) {
	resp, err := a.cfg.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: ref})
	n := resp.GetNetwork()
	return Network{ID: n.GetId(), Egress: n.GetEgress(), Limits: limitpb.FromProto(n.GetLimits()), Name: n.GetName(),
		Driver: n.GetDriver(),
		Bridge: n.GetBridge(), Internal: n.GetInternal()}, err
}

// HostGateways returns the configured host-gateway addresses, or else the gateways of the default
// bridge.
func (a *Agents) HostGateways(ctx context.Context) ([]string, error) {
	if len(a.cfg.HostGateways) > 0 {
		return a.cfg.HostGateways, nil
	}
	resp, err := a.cfg.Networks.GetNetwork(ctx,
		&networkv1.GetNetworkRequest{Reference: string(container.ModeBridge)})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range resp.GetNetwork().GetPools() {
		out = append(out, p.GetGateway())
	}
	return out, nil
}
