package main

import (
	"github.com/fairlead/fairlead/agent/carry"
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
	inFront := carry.Configured("supervisor", ofSupervisor, supervisor.New)
	inFront.Public = true
	return []carry.Carried{
		carry.Configured("nat", ofNAT, natagent.New),
		carry.Configured("net", ofNet, netagent.New),
		carry.Configured("dns", ofDNS, dnsagent.New),
		inFront,
	}
}

func ofNAT(h carry.Host) natagent.Config {
	return natagent.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log,
	}
}

func ofNet(h carry.Host) netagent.Config {
	return netagent.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log,
		BridgeName: h.Config.Bridge, Bip: h.Config.BIP, Bip6: h.Config.BIP6, MTU: h.Config.MTU,
		FixedCIDR: h.Config.FixedCIDR, FixedCIDRv6: h.Config.FixedCIDRv6,
		DefaultGateway: h.Config.DefaultGateway, DefaultGatewayV6: h.Config.DefaultGatewayV6,
		Guard: natv1.NewGuardServiceClient(h.Peer("nat")),
	}
}

func ofDNS(h carry.Host) dnsagent.Config {
	return dnsagent.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log,
		Servers: h.Config.DNS, Search: h.Config.DNSSearch, Options: h.Config.DNSOptions,
	}
}

func ofSupervisor(h carry.Host) supervisor.Config {
	network := h.Peer("net")
	return supervisor.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log,
		DefaultRuntime: h.Config.DefaultRuntime, RegistryMirrors: h.Config.RegistryMirrors, InsecureRegistries: h.Config.InsecureRegistries,
		Networks: networkv1.NewNetworkServiceClient(network), Sandboxes: networkv1.NewSandboxServiceClient(network),
		Publications: natv1.NewPublicationServiceClient(h.Peer("nat")), Names: dnsv1.NewNameServiceClient(h.Peer("dns")),
	}
}
