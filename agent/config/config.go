// Package config is what an agent is told: the keys, with Docker's names where the thing is the same, how the layers default,
// file, environment and flag are merged, and what is wrong with the result.
//
// It is pure. Package agent/config/file reads the file; the command makes a layer of its flags.
package config

import (
	"log/slog"
	"net/netip"
)

// Config is the merged and checked configuration.
type Config struct {
	DataRoot string // durable state
	ExecRoot string // run-time files: sockets, namespaces, locks
	Pidfile  string // empty: one in the exec-root
	Group    string // who may use the public unix sockets, besides root
	Hosts    []Host // where the public API listens
	Services Services

	Bridge           string // the default network's device, or NoBridge
	BIP, BIP6        netip.Prefix
	FixedCIDR        netip.Prefix
	FixedCIDRv6      netip.Prefix
	DefaultGateway   netip.Addr
	DefaultGatewayV6 netip.Addr
	Renumber         bool // running containers follow to another subnet of the default network
	MTU              int
	IPv6             bool       // the default network has it, with a subnet of the host's own if none is given
	ICC              bool       // containers of the default network reach each other
	IPMasq           bool       // containers of the default network leave with the host's address
	IP               netip.Addr // where its ports are published that name no address; 0.0.0.0 is everywhere
	HostGateways     []netip.Addr
	Pools            []Pool // where the subnets of networks come from; empty: Docker's ranges
	IPForward        bool   // forwarding is switched on where containers' traffic goes

	NetworkOptions map[string]map[string]string // driver -> option -> value, for networks that are made without it

	FirewallBackend string // auto, nftables or iptables
	AcceptMark      uint32 // packets with it pass between containers and others
	AcceptMask      uint32 // what of it counts; 0: there is none
	PublishBlocked  string // warn, refuse or allow, where the host's own firewall is closed
	DirectRouting   bool   // published ports are open at the containers' own addresses, too

	DNS        []netip.Addr
	DNSSearch  []string
	DNSOptions []string
	DNSCache   bool

	RegistryMirrors    []string // URLs
	InsecureRegistries []string // host[:port] or CIDR
	DefaultRuntime     string   // a name in PATH or an absolute path; empty: the supervisor's choice

	LogMaxSize int64 // bytes of one file of a container's log; 0: no limit
	LogMaxFile int   // files of a container's log
	PidsLimit  int64 // processes and threads of one container; 0: no limit

	LogLevel  slog.Level
	LogFormat string // "text" or "json"
	Debug     bool

	TLSVerify   bool
	TLSCACert   string
	TLSCert     string
	TLSKey      string
	InsecureTCP bool

	values map[string]Value
}

// NoBridge as the default network's device means that there is no default network.
const NoBridge = "none"

// defaultBridge is the default network's device if nobody names another.
const defaultBridge = "docker0"

// Pool is a range of addresses that networks' subnets are cut from.
type Pool struct {
	Base netip.Prefix
	Size int // the subnets' prefix length
}

// Services is where the services of a host find each other.
type Services struct {
	Net, NAT, DNS, Supervisor Host
}

func (s *Services) byName() map[string]*Host {
	return map[string]*Host{"net": &s.Net, "nat": &s.NAT, "dns": &s.DNS, "supervisor": &s.Supervisor}
}

// Service is where the service of that name is; the zero Host if there is none of that name.
func (c *Config) Service(name string) Host {
	if h, ok := c.Services.byName()[name]; ok {
		return *h
	}
	return Host{}
}

// Values is what each key that has a value is set to and where that came from, in the order of Keys.
func (c *Config) Values() []Value {
	var all []Value
	for _, k := range Keys() {
		if v, ok := c.values[k.Name]; ok {
			all = append(all, v)
		}
	}
	return all
}

// Value is what Config was built from: texts with their origins. Scalars have one.
type Value struct {
	Key     string
	Texts   []string
	Origins []Origin // one for each text
}

// OriginOf is the origin of a scalar's value, or of a list's first; the zero Origin if the key is not set.
func (c *Config) OriginOf(key string) Origin {
	if v := c.values[key]; len(v.Origins) > 0 {
		return v.Origins[0]
	}
	return Origin{}
}
