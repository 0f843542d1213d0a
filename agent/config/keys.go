package config

import (
	"net/netip"
	"strings"
)

// Kind is the type of a key's value.
type Kind int

// The kinds.
const (
	String Kind = iota
	Number
	Bool
	List
	Pools    // a list of objects; as text each is base=SUBNET,size=LENGTH
	Options  // options of networks by driver; as text each is DRIVER=OPTION=VALUE
	Ulimits  // objects by name; as text each is NAME=SOFT:HARD, or NAME=MEMBER=VALUE
	Runtimes // objects by name; as text each is NAME=PATH, or NAME=MEMBER=VALUE
	Lines    // a list of strings with spaces and commas
)

func (k Kind) String() string {
	return [...]string{"a string", "a number", "true or false", "a list of strings",
		`a list of objects as {"base": "10.0.0.0/8", "size": 24}`,
		`an object as {"bridge": {"com.docker.network.driver.mtu": "1400"}}`,
		`an object as {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 4096}}`,
		`an object as {"mine": {"path": "/usr/local/bin/mine"}}`, "a list of strings"}[k]
}

// MultiValued reports whether a key of that kind can have several values.
func (k Kind) MultiValued() bool { return k >= List }

// accepts reports whether a value of that shape is valid in a file.
func (k Kind) accepts(s Shape) bool {
	return s == Words || s == Array && k == Pools ||
		s == [...]Shape{Text, Numeral, Truth, Array, Objects, Nested, Nested, Nested, Array}[k]
}

// Key describes one key. A dot in the name denotes a member of an object: "services.net" is
// {"services": {"net": …}}.
type Key struct {
	Name       string
	Kind       Kind
	Flag       string // without dashes; empty: no flag
	Short      string // letter of the flag; may be empty
	Default    string // empty: not set, or derived from other keys
	Usage      string
	Reloadable bool                               // a reload applies changes
	set        func(c *Config, text string) error // called once for a scalar, once for each element of a list
}

// EnvName returns the name of the environment variable.
func (k Key) EnvName() string {
	return prefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(k.Name))
}

// IsGroup reports whether a name is an object with keys as members.
func IsGroup(name string) bool { return name == "services" || name == "log-opts" }

// Keys returns all keys in the order in which they are documented.
func Keys() []Key {
	var all []Key
	for _, group := range [][]Key{placeKeys(), networkKeys(), compatKeys(), nameKeys(), containerKeys(), defaultKeys(),
		logKeys(), accessKeys(), fleetKeys(), serviceKeys()} {
		all = append(all, group...)
	}
	return all
}

func placeKeys() []Key {
	return []Key{
		{Name: "data-root", Flag: "data-root", Default: "/var/lib/fairlead", Usage: "Directory for persistent state",
			set: path(func(c *Config) *string { return &c.DataRoot })},
		{Name: "exec-root", Flag: "exec-root", Default: "/run/fairlead", Usage: "Directory for runtime files",
			set: path(func(c *Config) *string { return &c.ExecRoot })},
		{Name: "pidfile", Flag: "pidfile", Short: "p", Usage: "PID file (default: in the exec-root)",
			set: path(func(c *Config) *string { return &c.Pidfile })},
	}
}

func networkKeys() []Key {
	return []Key{
		{Name: "bridge", Flag: "bridge", Short: "b", Default: defaultBridge, Usage: "Device of the default network",
			set: setBridge},
		{Name: "bip", Reloadable: true, Flag: "bip", Usage: "IPv4 address of the default bridge (CIDR)",
			set: bridgeAddress(4, func(c *Config) *netip.Prefix { return &c.BIP })},
		{Name: "bip6", Reloadable: true, Flag: "bip6", Usage: "IPv6 address of the default bridge (CIDR)",
			set: bridgeAddress(6, func(c *Config) *netip.Prefix { return &c.BIP6 })},
		{Name: "fixed-cidr", Reloadable: true, Flag: "fixed-cidr", Usage: "IPv4 range for container addresses",
			set: subnet(4, func(c *Config) *netip.Prefix { return &c.FixedCIDR })},
		{Name: "fixed-cidr-v6", Reloadable: true, Flag: "fixed-cidr-v6", Usage: "IPv6 range for container addresses",
			set: subnet(6, func(c *Config) *netip.Prefix { return &c.FixedCIDRv6 })},
		{Name: "default-gateway", Reloadable: true, Flag: "default-gateway",
			Usage: "IPv4 gateway of containers (default: the bridge)",
			set:   address(4, func(c *Config) *netip.Addr { return &c.DefaultGateway })},
		{Name: "default-gateway-v6", Reloadable: true, Flag: "default-gateway-v6",
			Usage: "IPv6 gateway of containers (default: the bridge)",
			set:   address(6, func(c *Config) *netip.Addr { return &c.DefaultGatewayV6 })},
		{Name: "renumber", Reloadable: true, Kind: Bool, Flag: "renumber",
			Usage: "Renumber running containers with the default bridge",
			set:   truth(func(c *Config) *bool { return &c.Renumber })},
		{Name: "firewall-backend", Flag: "firewall-backend", Default: "auto",
			Usage: "Firewall backend: auto, nftables or iptables",
			set:   setFirewallBackend},
		{Name: "publish-blocked", Flag: "publish-blocked", Default: "warn",
			Usage: "Publishing blocked ports: allow, warn or refuse",
			set:   setPublishBlocked},
		{Name: "default-egress", Reloadable: true, Kind: List, Flag: "default-egress",
			Usage: "Rules for outgoing traffic of containers and networks without rules",
			set:   addEgress},
		{Name: "default-bandwidth", Reloadable: true, Flag: "default-bandwidth",
			Usage: "Bandwidth of containers and networks without limits: in=RATE,out=RATE",
			set:   setBandwidth},
		{Name: "default-packets", Reloadable: true, Flag: "default-packets",
			Usage: "Packets a second of containers and networks without limits: in=NUMBER,out=NUMBER",
			set:   setPackets},
		{Name: "default-max-connections", Reloadable: true, Kind: Number, Flag: "default-max-connections",
			Usage: "Open connections of containers and networks without limits",
			set:   setMaxConnections},
		{Name: "bridge-accept-fwmark", Flag: "bridge-accept-fwmark",
			Usage: "Accept container traffic with a fwmark: MARK[/MASK]",
			set:   setAcceptMark},
		{Name: "allow-direct-routing", Kind: Bool, Flag: "allow-direct-routing",
			Usage: "Allow routed access to published container ports",
			set:   truth(func(c *Config) *bool { return &c.DirectRouting })},
		{Name: "mtu", Reloadable: true, Kind: Number, Flag: "mtu", Default: "1500", Usage: "MTU of the default bridge",
			set: setMTU},
		{Name: "ipv6", Reloadable: true, Kind: Bool, Flag: "ipv6", Usage: "Enable IPv6 on the default bridge",
			set: truth(func(c *Config) *bool { return &c.IPv6 })},
		{Name: "icc", Kind: Bool, Flag: "icc", Default: "true", Usage: "Allow traffic between containers on the bridge",
			set: truth(func(c *Config) *bool { return &c.ICC })},
		{Name: "ip-masq", Kind: Bool, Flag: "ip-masq", Default: "true",
			Usage: "Masquerade outgoing traffic of the bridge",
			set:   truth(func(c *Config) *bool { return &c.IPMasq })},
		{Name: "ip", Flag: "ip", Default: "0.0.0.0", Usage: "Default host address for published ports",
			set: setIP},
		{Name: "host-gateway-ips", Kind: List, Flag: "host-gateway-ip",
			Usage: "Address of host-gateway (default: the bridge)",
			set:   addHostGateway},
		{Name: "default-address-pools", Reloadable: true, Kind: Pools, Flag: "default-address-pool",
			Usage: "Pool for new subnets: base=CIDR,size=LENGTH", set: addPool},
		{Name: "default-network-opts", Reloadable: true, Kind: Options, Flag: "default-network-opt",
			Usage: "Default driver option: DRIVER=OPTION=VALUE", set: addNetworkOption},
		{Name: "ip-forward", Kind: Bool, Flag: "ip-forward", Default: "true",
			Usage: "Enable IP forwarding where containers need it",
			set:   truth(func(c *Config) *bool { return &c.IPForward })},
	}
}

func nameKeys() []Key {
	return []Key{
		{Name: "dns", Reloadable: true, Kind: List, Flag: "dns", Usage: "DNS server of containers",
			set: addDNS},
		{Name: "dns-search", Reloadable: true, Kind: List, Flag: "dns-search", Usage: "DNS search domain of containers",
			set: addDNSSearch},
		{Name: "dns-opts", Reloadable: true, Kind: List, Flag: "dns-opt", Usage: "Resolver option of containers",
			set: addDNSOption},
		{Name: "dns-cache", Reloadable: true, Kind: Bool, Flag: "dns-cache", Default: "true",
			Usage: "Cache upstream DNS responses",
			set:   truth(func(c *Config) *bool { return &c.DNSCache })},
		{Name: "dns-refusal", Reloadable: true, Flag: "dns-refusal", Default: "nxdomain",
			Usage: "Response for names that an egress policy refuses: nxdomain or refused",
			set:   oneOf(func(c *Config) *string { return &c.DNSRefusal }, "nxdomain", "refused")},
		{Name: "dns-records", Reloadable: true, Kind: Lines, Flag: "dns-record",
			Usage: "DNS record for containers: [network=NAME] NAME [TTL] TYPE DATA",
			set:   addDNSRecord},
		{Name: "dns-forwards", Reloadable: true, Kind: Lines, Flag: "dns-forward",
			Usage: "DNS servers of a domain: [network=NAME] DOMAIN [tls://]SERVER[#NAME]...",
			set:   addDNSForward},
	}
}

func containerKeys() []Key {
	return []Key{
		{Name: "registry-mirrors", Reloadable: true, Kind: List, Flag: "registry-mirror",
			Usage: "Docker Hub mirror URL",
			set:   addMirror},
		{Name: "insecure-registries", Reloadable: true, Kind: List, Flag: "insecure-registry",
			Usage: "Registry to access over plain HTTP",
			set:   addInsecure},
		{Name: "default-runtime", Flag: "default-runtime", Usage: "OCI runtime: name or absolute path",
			set: setRuntime},
		{Name: "buildkitd", Flag: "buildkitd", Default: "buildkitd",
			Usage: "BuildKit program for docker build: name or absolute path", set: setBuildKit},
		{Name: "default-pids-limit", Kind: Number, Flag: "default-pids-limit", Default: "4096",
			Usage: "Process limit of a container (0: none)",
			set:   setPidsLimit},
		{Name: "log-driver", Flag: "log-driver", Default: "json-file",
			Usage: "Default log driver: json-file, local, journald or none",
			set:   setLogDriver},
		{Name: "log-opts.max-size", Default: "20m", Usage: "Maximum size of a log file, such as 10m (-1: no limit)",
			set: setLogMaxSize},
		{Name: "log-opts.max-file", Default: "5", Usage: "Number of log files of a container",
			set: setLogMaxFile},
	}
}

func logKeys() []Key {
	return []Key{
		{Name: "log-level", Reloadable: true, Flag: "log-level", Short: "l", Default: "info",
			Usage: "Log level: debug, info, warn or error",
			set:   setLogLevel},
		{Name: "log-format", Flag: "log-format", Default: "text", Usage: "Log format: text or json",
			set: setLogFormat},
		{Name: "debug", Reloadable: true, Kind: Bool, Flag: "debug", Short: "D", Usage: "Same as --log-level debug",
			set: truth(func(c *Config) *bool { return &c.Debug })},
	}
}

func accessKeys() []Key {
	return []Key{
		{Name: "hosts", Reloadable: true, Kind: List, Flag: "host", Short: "H",
			Usage: "Listen address: unix://PATH, tcp://HOST:PORT or fd://",
			set:   addHost},
		{Name: "docker-hosts", Kind: List, Flag: "docker-hosts",
			Usage: "Listen address of the Docker Engine API, or none",
			set:   addDockerHost},
		{Name: "metrics-address", Flag: "metrics-address",
			Usage: "Prometheus endpoint: unix://PATH or tcp://HOST:PORT",
			set:   setMetricsAddress},
		{Name: "traces-endpoint", Flag: "traces-endpoint",
			Usage: "OpenTelemetry collector: http[s]://HOST[:PORT] or unix://PATH",
			set:   setTracesEndpoint},
		{Name: "group", Flag: "group", Short: "G", Usage: "Group of the Unix sockets (default: fairlead)",
			set: func(c *Config, text string) error { c.Group = text; return nil }},
		{Name: "tlsverify", Reloadable: true, Kind: Bool, Flag: "tlsverify",
			Usage: "Require client certificates on tcp://",
			set:   truth(func(c *Config) *bool { return &c.TLSVerify })},
		{Name: "tlscacert", Reloadable: true, Flag: "tlscacert", Usage: "CA certificate file",
			set: path(func(c *Config) *string { return &c.TLSCACert })},
		{Name: "tlscert", Reloadable: true, Flag: "tlscert", Usage: "Server certificate file",
			set: path(func(c *Config) *string { return &c.TLSCert })},
		{Name: "tlskey", Reloadable: true, Flag: "tlskey", Usage: "Server key file",
			set: path(func(c *Config) *string { return &c.TLSKey })},
		{Name: "insecure-tcp", Reloadable: true, Kind: Bool, Flag: "insecure-tcp",
			Usage: "Allow unauthenticated root access over tcp://",
			set:   truth(func(c *Config) *bool { return &c.InsecureTCP })},
	}
}

func serviceKeys() []Key {
	return []Key{
		{Name: "services.net", Usage: "Address of netagent",
			set: serviceHost(func(c *Config) *Host { return &c.Services.Net })},
		{Name: "services.nat", Usage: "Address of natagent",
			set: serviceHost(func(c *Config) *Host { return &c.Services.NAT })},
		{Name: "services.dns", Usage: "Address of dnsagent",
			set: serviceHost(func(c *Config) *Host { return &c.Services.DNS })},
		{Name: "services.supervisor", Usage: "Address of the supervisor",
			set: serviceHost(func(c *Config) *Host { return &c.Services.Supervisor })},
		{Name: "services.fleet", Usage: "Address of fleetagent",
			set: serviceHost(func(c *Config) *Host { return &c.Services.Fleet })},
		{Name: "services.engine", Usage: "Address of engine",
			set: serviceHost(func(c *Config) *Host { return &c.Services.Engine })},
	}
}
