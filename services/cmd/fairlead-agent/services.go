package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/service"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/dnsagent"
	"github.com/fairlead/fairlead/services/engine"
	"github.com/fairlead/fairlead/services/fleetagent"
	"github.com/fairlead/fairlead/services/natagent"
	"github.com/fairlead/fairlead/services/netagent"
	"github.com/fairlead/fairlead/services/supervisor"
)

// services returns the specs of all services of this binary. A service comes after those that it
// depends on.
func services() []service.Spec {
	return []service.Spec{
		service.Make(service.Spec{Name: "nat", Title: "natagent", Packages: []string{"fairlead.nat.v1"},
			Metrics: natagent.Metrics()},
			natConfig, natagent.New),
		service.Make(service.Spec{Name: "net", Title: "netagent", Packages: []string{"fairlead.network.v1"},
			CheckConfig: checkNet, Metrics: netagent.Metrics()}, netConfig, netagent.New),
		service.Make(service.Spec{Name: "dns", Title: "dnsagent", Packages: []string{"fairlead.dns.v1"},
			Metrics: dnsagent.Metrics()},
			dnsConfig, dnsagent.New),
		service.Make(service.Spec{Name: "supervisor", Title: "supervisor", Public: true,
			Packages: []string{"fairlead.container.v1", "fairlead.host.v1"}, Metrics: supervisor.Metrics()},
			supervisorConfig, supervisor.New),
		service.Make(service.Spec{Name: "fleet", Title: "fleetagent", Nodes: true,
			Packages: []string{"fairlead.fleet.v1"}},
			fleetConfig, fleetagent.New),
		service.Make(service.Spec{Name: "engine", Title: "engine", HTTP: &service.HTTP{
			Hosts: func(c *config.Config) []config.Host { return c.DockerHosts }, Group: "docker", FDName: "docker"}},
			engineConfig, engine.New),
	}
}

func natConfig(h service.Deps) natagent.Config {
	return natagent.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log, State: h.State,
		FirewallBackend: h.Config.FirewallBackend,
		AcceptMark:      h.Config.AcceptMark, AcceptMask: h.Config.AcceptMask,
		PublishBlocked: h.Config.PublishBlocked, DirectRouting: h.Config.DirectRouting,
	}
}

func netConfig(h service.Deps) netagent.Config {
	return netagent.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log, State: h.State,
		BridgeName: explicitValue(h.Config, "bridge", h.Config.Bridge), Bip: explicitBIP(h.Config),
		Bip6: h.Config.BIP6, MTU: h.Config.MTU,
		FixedCIDR: h.Config.FixedCIDR, FixedCIDRv6: h.Config.FixedCIDRv6,
		DefaultGateway: h.Config.DefaultGateway, DefaultGatewayV6: h.Config.DefaultGatewayV6,
		Renumber: h.Config.Renumber, Limits: h.Config.Limits,
		IPv6: h.Config.IPv6, Isolated: !h.Config.ICC, NoMasquerade: !h.Config.IPMasq,
		HostBinding: hostBinding(h.Config.IP),
		NoBridge:    h.Config.Bridge == config.NoBridge, AddressPools: addressPools(h.Config.Pools),
		NoForwarding: !h.Config.IPForward, NetworkOptions: h.Config.NetworkOptions,
		WireGuardPort: h.Config.Fleet.WireGuardPort, KeyLifetime: h.Config.Fleet.KeyLifetime,
		Firewall: natv1.NewFirewallServiceClient(h.Peer("nat")),
		Fleet:    fleetv1.NewOverlayServiceClient(h.Peer("fleet")),
	}
}

func checkNet(c *config.Config) error {
	return netagent.Config{NetworkOptions: c.NetworkOptions}.CheckOptions()
}

// explicitValue returns a value that was set explicitly, or zero for a default, which the service
// determines itself.
func explicitValue[T any](c *config.Config, key string, value T) (out T) {
	if c.OriginOf(key).Rank != config.Default {
		out = value
	}
	return out
}

// explicitBIP returns the address of the default bridge if it was set, or derived from an address
// range.
func explicitBIP(c *config.Config) netip.Prefix {
	if c.FixedCIDR.IsValid() {
		return c.BIP
	}
	return explicitValue(c, "bip", c.BIP)
}

// hostBinding returns the zero address for all host addresses.
func hostBinding(ip netip.Addr) netip.Addr {
	if ip.IsUnspecified() {
		return netip.Addr{}
	}
	return ip
}

func addressPools(pools []config.Pool) []netagent.AddressPool {
	var all []netagent.AddressPool
	for _, p := range pools {
		all = append(all, netagent.AddressPool{Base: p.Base, Size: p.Size})
	}
	return all
}

func dnsConfig(h service.Deps) dnsagent.Config {
	return dnsagent.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log, State: h.State,
		Servers: h.Config.DNS, Search: h.Config.DNSSearch, Options: h.Config.DNSOptions, NoCache: !h.Config.DNSCache,
		Records: h.Config.DNSRecords, Forwards: h.Config.DNSForwards, Refuse: h.Config.DNSRefusal == "refused",
		Store: h.FDStore, Policies: natv1.NewPolicyServiceClient(h.Peer("nat")),
		WatchPolicies: func(ctx context.Context, report func(bool)) { h.Watch(ctx, "nat", report) },
		Fleet:         fleetv1.NewOverlayServiceClient(h.Peer("fleet")),
	}
}

func supervisorConfig(h service.Deps) supervisor.Config {
	net := h.Peer("net")
	return supervisor.Config{
		DataRoot: h.Config.DataRoot, ExecRoot: h.Config.ExecRoot, Log: h.Log, State: h.State,
		DefaultRuntime: h.Config.DefaultRuntime, RegistryMirrors: h.Config.RegistryMirrors,
		InsecureRegistries: h.Config.InsecureRegistries,
		BuildKit:           h.Config.BuildKit, BuildDNS: texts(h.Config.DNS), Program: ownProgram(),
		Egress:       h.Config.Egress,
		HostGateways: texts(h.Config.HostGateways),
		Runtimes:     runtimes(h.Config.Runtimes), Options: containerOptions(h.Config),
		LogMaxSize: h.Config.LogMaxSize, LogMaxFiles: h.Config.LogMaxFile,
		Fleet:    fleetv1.NewFleetServiceClient(h.Peer("fleet")),
		Overlay:  fleetv1.NewOverlayServiceClient(h.Peer("fleet")),
		Networks: networkv1.NewNetworkServiceClient(net), Sandboxes: networkv1.NewSandboxServiceClient(net),
		Publications: natv1.NewPublicationServiceClient(h.Peer("nat")),
		Policies:     natv1.NewPolicyServiceClient(h.Peer("nat")),
		Names:        dnsv1.NewNameServiceClient(h.Peer("dns")),
	}
}

func runtimes(all []config.Runtime) map[string]string {
	paths := map[string]string{}
	for _, r := range all {
		paths[r.Name] = r.Path
	}
	return paths
}

// containerOptions returns the defaults of containers' options.
func containerOptions(c *config.Config) supervisor.Options {
	o := supervisor.Options{LogDriver: c.LogDriver, PidsLimit: c.PidsLimit, ShmSize: c.ShmSize,
		IPCMode: c.IPCMode, CgroupnsMode: c.CgroupnsMode,
		CgroupParent: c.CgroupParent, Init: c.Init, InitPath: c.InitPath, NoNewPrivileges: c.NoNewPrivileges,
		SeccompProfile: c.SeccompProfile}
	for _, u := range c.Ulimits {
		o.Ulimits = append(o.Ulimits, supervisor.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return o
}

func texts(addresses []netip.Addr) []string {
	var all []string
	for _, a := range addresses {
		all = append(all, a.String())
	}
	return all
}

func fleetConfig(h service.Deps) fleetagent.Config {
	f := h.Config.Fleet
	return fleetagent.Config{DataRoot: h.Config.DataRoot, Log: h.Log, StoreProgram: storeProgram(), AgentPort: f.Port,
		StoreClientPort: f.StorePort, StorePeerPort: f.PeerPort, Lease: f.Lease, Accept: h.Accept,
		Firewall: natv1.NewFirewallServiceClient(h.Peer("nat"))}
}

// engineConfig returns the clients of the services that Docker's clients need.
func engineConfig(h service.Deps) engine.Config {
	net, nat, supervise := h.Peer("net"), h.Peer("nat"), h.Peer("supervisor")
	return engine.Config{Log: h.Log, Watch: h.Watch,
		Services: map[string]string{"net": "netagent", "nat": "natagent", "dns": "dnsagent",
			"supervisor": "supervisor"},
		Clients: engine.Clients{
			Containers: containerv1.NewContainerServiceClient(supervise),
			Files:      containerv1.NewFileServiceClient(supervise),
			Images:     containerv1.NewImageServiceClient(supervise),
			Volumes:    containerv1.NewVolumeServiceClient(supervise),
			Builder:    containerv1.NewBuilderServiceClient(supervise),
			Host:       hostv1.NewHostServiceClient(supervise), Networks: networkv1.NewNetworkServiceClient(net),
			Sandboxes: networkv1.NewSandboxServiceClient(net), Publications: natv1.NewPublicationServiceClient(nat),
			Firewall: natv1.NewFirewallServiceClient(nat),
		}}
}

// ownProgram returns the path of the agent.
func ownProgram() string {
	own, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return own
}

// storeProgram returns the path of fairlead-store, which is installed in the directory of the agent.
func storeProgram() string {
	return filepath.Join(filepath.Dir(ownProgram()), "fairlead-store")
}
