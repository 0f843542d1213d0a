package config

import (
	"net/netip"
	"strings"
)

// Kind is what values a key takes.
type Kind int

// The kinds.
const (
	String Kind = iota
	Number
	Bool
	List
	Pools   // a list of objects; as text each is base=SUBNET,size=LENGTH
	Options // options of networks by driver; as text each is DRIVER=OPTION=VALUE
)

func (k Kind) String() string {
	return [...]string{"a string", "a number", "true or false", "a list of strings", `a list of objects as {"base": "10.0.0.0/8", "size": 24}`,
		`an object as {"bridge": {"com.docker.network.driver.mtu": "1400"}}`}[k]
}

// MultiValued tells whether a key of that kind can have several values.
func (k Kind) MultiValued() bool { return k == List || k == Pools || k == Options }

// accepts tells whether a value of that shape may stand in a file.
func (k Kind) accepts(s Shape) bool {
	return s == Words || s == Array && k == Pools || s == [...]Shape{Text, Numeral, Truth, Array, Objects, Nested}[k]
}

// Key describes one key. Keys with a dot stand in an object of the file: "services.net" is {"services": {"net": …}}.
type Key struct {
	Name       string
	Kind       Kind
	Flag       string // without dashes; empty: only the file and the environment have it
	Short      string // the flag's letter; may be empty
	Default    string // empty: not set, or computed from other keys
	Usage      string
	Reloadable bool                               // a reload applies it to an agent that runs
	set        func(c *Config, text string) error // once for a scalar, once for each element of a list
}

// EnvName is the key's name in the environment.
func (k Key) EnvName() string {
	return prefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(k.Name))
}

// IsGroup tells whether a name is that of an object whose members are keys.
func IsGroup(name string) bool { return name == "services" || name == "log-opts" }

// Keys is every key there is, in the order in which they are shown.
func Keys() []Key {
	var all []Key
	for _, group := range [][]Key{placeKeys(), networkKeys(), compatKeys(), nameKeys(), containerKeys(), logKeys(), accessKeys(), serviceKeys()} {
		all = append(all, group...)
	}
	return all
}

func placeKeys() []Key {
	return []Key{
		{Name: "data-root", Flag: "data-root", Default: "/var/lib/fairlead", Usage: "Folder of durable state",
			set: path(func(c *Config) *string { return &c.DataRoot })},
		{Name: "exec-root", Flag: "exec-root", Default: "/run/fairlead", Usage: "Folder of run-time files",
			set: path(func(c *Config) *string { return &c.ExecRoot })},
		{Name: "pidfile", Flag: "pidfile", Short: "p", Usage: "File for the agent's process id (default in the exec-root)",
			set: path(func(c *Config) *string { return &c.Pidfile })},
	}
}

func networkKeys() []Key {
	return []Key{
		{Name: "bridge", Flag: "bridge", Short: "b", Default: defaultBridge, Usage: "Device of the default network", set: setBridge},
		{Name: "bip", Reloadable: true, Flag: "bip", Usage: "The bridge's IPv4 address with its prefix length", set: bridgeAddress(4, func(c *Config) *netip.Prefix { return &c.BIP })},
		{Name: "bip6", Reloadable: true, Flag: "bip6", Usage: "The bridge's IPv6 address with its prefix length", set: bridgeAddress(6, func(c *Config) *netip.Prefix { return &c.BIP6 })},
		{Name: "fixed-cidr", Reloadable: true, Flag: "fixed-cidr", Usage: "IPv4 subnet that containers get addresses from",
			set: subnet(4, func(c *Config) *netip.Prefix { return &c.FixedCIDR })},
		{Name: "fixed-cidr-v6", Reloadable: true, Flag: "fixed-cidr-v6", Usage: "IPv6 subnet that containers get addresses from",
			set: subnet(6, func(c *Config) *netip.Prefix { return &c.FixedCIDRv6 })},
		{Name: "default-gateway", Reloadable: true, Flag: "default-gateway", Usage: "IPv4 gateway of containers (default the bridge)", set: address(4, func(c *Config) *netip.Addr { return &c.DefaultGateway })},
		{Name: "default-gateway-v6", Reloadable: true, Flag: "default-gateway-v6", Usage: "IPv6 gateway of containers (default the bridge)", set: address(6, func(c *Config) *netip.Addr { return &c.DefaultGatewayV6 })},
		{Name: "renumber", Reloadable: true, Kind: Bool, Flag: "renumber", Usage: "Running containers follow when the default network gets another subnet",
			set: truth(func(c *Config) *bool { return &c.Renumber })},
		{Name: "firewall-backend", Flag: "firewall-backend", Default: "auto", Usage: "auto, nftables or iptables", set: setFirewallBackend},
		{Name: "publish-closed", Flag: "publish-closed", Default: "warn", Usage: "What to do when a port is published at which the host's own firewall is closed: warn, refuse or allow",
			set: setPublishClosed},
		{Name: "bridge-accept-fwmark", Flag: "bridge-accept-fwmark", Usage: "Let packets to and from containers pass that somebody has marked so: MARK or MARK/MASK", set: setAcceptMark},
		{Name: "allow-direct-routing", Kind: Bool, Flag: "allow-direct-routing", Usage: "Published ports are reached at the containers' own addresses, too, by machines with a route there",
			set: truth(func(c *Config) *bool { return &c.DirectRouting })},
		{Name: "mtu", Reloadable: true, Kind: Number, Flag: "mtu", Default: "1500", Usage: "MTU of the default network", set: setMTU},
		{Name: "ipv6", Reloadable: true, Kind: Bool, Flag: "ipv6", Usage: "IPv6 on the default network", set: truth(func(c *Config) *bool { return &c.IPv6 })},
		{Name: "icc", Kind: Bool, Flag: "icc", Default: "true", Usage: "Containers of the default network reach each other", set: truth(func(c *Config) *bool { return &c.ICC })},
		{Name: "ip-masq", Kind: Bool, Flag: "ip-masq", Default: "true", Usage: "Containers of the default network leave with the host's address",
			set: truth(func(c *Config) *bool { return &c.IPMasq })},
		{Name: "ip", Flag: "ip", Default: "0.0.0.0", Usage: "Host address of published ports that name none", set: setIP},
		{Name: "host-gateway-ips", Kind: List, Flag: "host-gateway-ip", Usage: "Address that host-gateway means (default the bridge's)", set: addHostGateway},
		{Name: "default-address-pools", Reloadable: true, Kind: Pools, Flag: "default-address-pool",
			Usage: "Where the subnets of new networks come from, as base=10.0.0.0/8,size=24", set: addPool},
		{Name: "default-network-opts", Reloadable: true, Kind: Options, Flag: "default-network-opt",
			Usage: "Option of new networks of a driver, as bridge=com.docker.network.driver.mtu=1400", set: addNetworkOption},
		{Name: "ip-forward", Kind: Bool, Flag: "ip-forward", Default: "true", Usage: "Switch forwarding on where containers' traffic goes",
			set: truth(func(c *Config) *bool { return &c.IPForward })},
	}
}

func nameKeys() []Key {
	return []Key{
		{Name: "dns", Reloadable: true, Kind: List, Flag: "dns", Usage: "DNS server of containers", set: addDNS},
		{Name: "dns-search", Reloadable: true, Kind: List, Flag: "dns-search", Usage: "DNS search domain of containers", set: addDNSSearch},
		{Name: "dns-opts", Reloadable: true, Kind: List, Flag: "dns-opt", Usage: "Resolver option of containers", set: addDNSOption},
		{Name: "dns-cache", Reloadable: true, Kind: Bool, Flag: "dns-cache", Default: "true", Usage: "Keep answers of DNS servers for as long as they allow",
			set: truth(func(c *Config) *bool { return &c.DNSCache })},
	}
}

func containerKeys() []Key {
	return []Key{
		{Name: "registry-mirrors", Reloadable: true, Kind: List, Flag: "registry-mirror", Usage: "URL of a mirror of Docker Hub", set: addMirror},
		{Name: "insecure-registries", Reloadable: true, Kind: List, Flag: "insecure-registry", Usage: "Registry that may be spoken to in plain HTTP", set: addInsecure},
		{Name: "default-runtime", Flag: "default-runtime", Usage: "OCI runtime: a name or an absolute path", set: setRuntime},
		{Name: "default-pids-limit", Kind: Number, Flag: "default-pids-limit", Default: "4096", Usage: "Processes and threads of one container (0 means no limit)", set: setPidsLimit},
		{Name: "log-opts.max-size", Default: "20m", Usage: "Size of one file of a container's log, as 10m (-1 means no limit)", set: setLogMaxSize},
		{Name: "log-opts.max-file", Default: "5", Usage: "Files of a container's log", set: setLogMaxFile},
	}
}

func logKeys() []Key {
	return []Key{
		{Name: "log-level", Reloadable: true, Flag: "log-level", Short: "l", Default: "info", Usage: "debug, info, warn or error", set: setLogLevel},
		{Name: "log-format", Flag: "log-format", Default: "text", Usage: "text or json", set: setLogFormat},
		{Name: "debug", Reloadable: true, Kind: Bool, Flag: "debug", Short: "D", Usage: "The same as --log-level debug",
			set: truth(func(c *Config) *bool { return &c.Debug })},
	}
}

func accessKeys() []Key {
	return []Key{
		{Name: "hosts", Reloadable: true, Kind: List, Flag: "host", Short: "H", Usage: "Where to listen: unix://PATH, tcp://ADDRESS:PORT or fd:// (default in the exec-root)", set: addHost},
		{Name: "group", Flag: "group", Short: "G", Usage: "Group that may use the unix sockets (default fairlead, if there is one)",
			set: func(c *Config, text string) error { c.Group = text; return nil }},
		{Name: "tlsverify", Reloadable: true, Kind: Bool, Flag: "tlsverify", Usage: "TLS on tcp:// hosts, for clients with a certificate of the CA",
			set: truth(func(c *Config) *bool { return &c.TLSVerify })},
		{Name: "tlscacert", Reloadable: true, Flag: "tlscacert", Usage: "File with the CA's certificate", set: path(func(c *Config) *string { return &c.TLSCACert })},
		{Name: "tlscert", Reloadable: true, Flag: "tlscert", Usage: "File with the agent's certificate", set: path(func(c *Config) *string { return &c.TLSCert })},
		{Name: "tlskey", Reloadable: true, Flag: "tlskey", Usage: "File with the agent's key", set: path(func(c *Config) *string { return &c.TLSKey })},
		{Name: "insecure-tcp", Reloadable: true, Kind: Bool, Flag: "insecure-tcp", Usage: "Accept that whoever reaches a tcp:// host without TLS is root here",
			set: truth(func(c *Config) *bool { return &c.InsecureTCP })},
	}
}

func serviceKeys() []Key {
	return []Key{
		{Name: "services.net", Usage: "Where netagent is", set: serviceHost(func(c *Config) *Host { return &c.Services.Net })},
		{Name: "services.nat", Usage: "Where natagent is", set: serviceHost(func(c *Config) *Host { return &c.Services.NAT })},
		{Name: "services.dns", Usage: "Where dnsagent is", set: serviceHost(func(c *Config) *Host { return &c.Services.DNS })},
		{Name: "services.supervisor", Usage: "Where the supervisor is", set: serviceHost(func(c *Config) *Host { return &c.Services.Supervisor })},
	}
}
