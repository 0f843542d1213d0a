// Package config defines the agent's configuration keys, with Docker's names where they match. It
// merges and checks the layers: default, file, environment and flags.
//
// It performs no I/O. Package agent/config/file reads the file; the command creates a layer from
// its flags.
package config

import (
	"log/slog"
	"net/netip"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/egress"
)

// Config is the merged and checked configuration.
type Config struct {
	DataRoot string // persistent state
	ExecRoot string // runtime files: sockets, namespaces, locks
	Pidfile  string // empty: a file in the exec-root
	Group    string // has access to the public Unix sockets, besides root
	Hosts    []Host // listen addresses of the public API
	// DockerHosts are the listen addresses of the Docker Engine API. Empty with NoDockerHost.
	DockerHosts []Host
	Services    Services

	Bridge           string // device of the default network, or NoBridge
	BIP, BIP6        netip.Prefix
	FixedCIDR        netip.Prefix
	FixedCIDRv6      netip.Prefix
	DefaultGateway   netip.Addr
	DefaultGatewayV6 netip.Addr
	Renumber         bool // renumber running containers if the subnet of the default network changes
	MTU              int
	IPv6             bool       // enabled on the default network; without a subnet one is chosen
	ICC              bool       // containers of the default network can connect to each other
	IPMasq           bool       // masquerade outgoing traffic of the default network
	IP               netip.Addr // default host address of published ports; 0.0.0.0 means all
	HostGateways     []netip.Addr
	Pools            []Pool // empty: Docker's ranges
	IPForward        bool   // enable IP forwarding where containers need it

	NetworkOptions map[string]map[string]string // driver -> option -> default value for new networks

	FirewallBackend string          // auto, nftables or iptables
	AcceptMark      uint32          // fwmark of packets that are always accepted from and to containers
	AcceptMask      uint32          // 0: no mark is configured
	Egress          []string        // rules for outgoing traffic of containers and networks without rules
	Limits          egress.Defaults // of containers and networks without limits
	PublishBlocked  string          // warn, refuse or allow ports that the host firewall blocks
	DirectRouting   bool            // allow direct access to published container ports

	DNS        []netip.Addr
	DNSSearch  []string
	DNSOptions []string
	DNSCache   bool

	DNSRefusal string // response for names that a policy does not allow: nxdomain or refused

	DNSRecords  []dnsrecord.Record
	DNSForwards []dnsrecord.Forward
	dnsTable    dnsrecord.Table // of DNSRecords, to find contradictions

	RegistryMirrors    []string // URLs
	InsecureRegistries []string // host[:port] or CIDR
	DefaultRuntime     string   // a name in PATH or an absolute path; empty: the supervisor's choice
	BuildKit           string   // the program for builds: a name in PATH or an absolute path

	LogDriver  string // json-file, local, journald or none
	LogMaxSize int64  // bytes of one file of a container's log; 0: no limit
	LogMaxFile int    // files of a container's log
	PidsLimit  int64  // processes and threads of one container; 0: no limit

	Runtimes        []Runtime // additional OCI runtimes
	Ulimits         []Ulimit  // of containers
	ShmSize         int64     // bytes of /dev/shm of a container
	IPCMode         string    // private or shareable
	CgroupnsMode    string    // private or host; empty: private with cgroup v2
	CgroupParent    string    // empty: the supervisor's choice
	Init            bool      // run an init process in each container
	InitPath        string    // empty: the first that exists
	NoNewPrivileges bool
	SeccompProfile  string // a file, builtin or unconfined; empty: builtin
	OOMScoreAdjust  *int   // of the agent; nil: unchanged

	wholeUlimits []string // names of limits set as NAME=SOFT:HARD

	LogLevel  slog.Level
	LogFormat string // "text" or "json"
	Debug     bool

	Fleet Fleet

	MetricsAddress Host      // of the Prometheus endpoint; zero: none
	TracesEndpoint Collector // of OpenTelemetry; zero: none

	TLSVerify   bool
	TLSCACert   string
	TLSCert     string
	TLSKey      string
	InsecureTCP bool

	values map[string]Value
}

// NoBridge is the bridge name that disables the default network.
const NoBridge = "none"

// NoDockerHost is the value of docker-hosts that disables the Docker Engine API.
const NoDockerHost = "none"

// defaultBridge is the default device of the default network.
const defaultBridge = "docker0"

// Pool is an address range that subnets of networks are allocated from.
type Pool struct {
	Base netip.Prefix
	Size int // the subnets' prefix length
}

// Services holds the addresses of the services of a host.
type Services struct {
	Net, NAT, DNS, Supervisor, Fleet, Engine Host
}

func (s *Services) byName() map[string]*Host {
	return map[string]*Host{"net": &s.Net, "nat": &s.NAT, "dns": &s.DNS, "supervisor": &s.Supervisor,
		"fleet": &s.Fleet, "engine": &s.Engine}
}

// Service returns the address of the service with the given name, or the zero Host if there is
// none.
func (c *Config) Service(name string) Host {
	if h, ok := c.Services.byName()[name]; ok {
		return *h
	}
	return Host{}
}

// Values returns the keys that have a value, with origins, in the order of Keys.
func (c *Config) Values() []Value {
	var all []Value
	for _, k := range Keys() {
		if v, ok := c.values[k.Name]; ok {
			all = append(all, v)
		}
	}
	return all
}

// Value holds the texts of one key with their origins. A scalar has one text.
type Value struct {
	Key     string
	Texts   []string
	Origins []Origin // one for each text
}

// OriginOf returns the origin of a scalar, or of the first element of a list. It is zero if the key
// is not set.
func (c *Config) OriginOf(key string) Origin {
	if v := c.values[key]; len(v.Origins) > 0 {
		return v.Origins[0]
	}
	return Origin{}
}
