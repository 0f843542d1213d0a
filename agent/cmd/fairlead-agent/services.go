package main

import (
	"context"

	"github.com/fairlead/fairlead/agent/carry"
	"github.com/fairlead/fairlead/agent/service"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/dnsagent"
	"github.com/fairlead/fairlead/services/netagent"
)

// services is every service that this binary has, each with how it is made from the configuration.
func services() []carry.Carried {
	return []carry.Carried{
		{Name: "net", New: newNet},
		{Name: "dns", New: newDNS},
	}
}

func newNet(ctx context.Context, h carry.Host) (service.Service, error) {
	return carry.Made(netagent.New(ctx, netagent.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log,
		BridgeName: h.Config.Bridge, Bip: h.Config.BIP, Bip6: h.Config.BIP6, MTU: h.Config.MTU,
		FixedCIDR: h.Config.FixedCIDR, FixedCIDRv6: h.Config.FixedCIDRv6,
		DefaultGateway: h.Config.DefaultGateway, DefaultGatewayV6: h.Config.DefaultGatewayV6,
		Guard: natv1.NewGuardServiceClient(h.Peer("nat")),
	}))
}

func newDNS(ctx context.Context, h carry.Host) (service.Service, error) {
	return carry.Made(dnsagent.New(ctx, dnsagent.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log,
		Servers: h.Config.DNS, Search: h.Config.DNSSearch, Options: h.Config.DNSOptions,
	}))
}
