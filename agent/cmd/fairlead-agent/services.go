package main

import (
	"context"

	"github.com/fairlead/fairlead/agent/carry"
	"github.com/fairlead/fairlead/agent/service"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/dnsagent"
	"github.com/fairlead/fairlead/services/natagent"
	"github.com/fairlead/fairlead/services/netagent"
	"github.com/fairlead/fairlead/services/supervisor"
)

// services is every service that this binary has, each with how it is made from the configuration.
func services() []carry.Carried {
	return []carry.Carried{
		{Name: "nat", New: newNAT},
		{Name: "net", New: newNet},
		{Name: "dns", New: newDNS},
		{Name: "supervisor", New: newSupervisor, Public: true},
	}
}

func newNAT(ctx context.Context, h carry.Host) (service.Service, error) {
	return carry.Made(natagent.New(ctx, natagent.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log,
	}))
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

func newSupervisor(ctx context.Context, h carry.Host) (service.Service, error) {
	network := h.Peer("net")
	return carry.Made(supervisor.New(ctx, supervisor.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log,
		DefaultRuntime: h.Config.DefaultRuntime, RegistryMirrors: h.Config.RegistryMirrors, InsecureRegistries: h.Config.InsecureRegistries,
		Networks: networkv1.NewNetworkServiceClient(network), Sandboxes: networkv1.NewSandboxServiceClient(network),
		Publications: natv1.NewPublicationServiceClient(h.Peer("nat")), Names: dnsv1.NewNameServiceClient(h.Peer("dns")),
	}))
}
