package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// derive computes the values that follow from other keys.
func (c *Config) derive() {
	if len(c.Hosts) == 0 {
		c.Hosts = []Host{c.execRootSocket("fairlead")}
		c.values["hosts"] = Value{"hosts", []string{c.Hosts[0].String()}, []Origin{{}}}
	}
	if len(c.values["docker-hosts"].Texts) == 0 {
		c.DockerHosts = []Host{c.execRootSocket("docker")}
		c.values["docker-hosts"] = Value{"docker-hosts", []string{c.DockerHosts[0].String()}, []Origin{{}}}
	}
	for name, field := range c.Services.byName() {
		if *field == (Host{}) {
			*field = c.execRootSocket(name)
			key := "services." + name
			c.values[key] = Value{key, []string{field.String()}, []Origin{{}}}
		}
	}
	// A bridge with another name may already exist and have addresses.
	if !c.BIP.IsValid() && (c.Bridge == defaultBridge || c.FixedCIDR.IsValid()) {
		c.compute("bip", &c.BIP, c.ownAddress())
	}
	if !c.IPv6 && len(c.set("ipv6")) > 0 { // disabled explicitly, which overrides addresses
		c.BIP6, c.FixedCIDRv6, c.DefaultGatewayV6 = netip.Prefix{}, netip.Prefix{}, netip.Addr{}
	}
	if !c.BIP6.IsValid() && c.FixedCIDRv6.IsValid() {
		c.compute("bip6", &c.BIP6, firstHost(c.FixedCIDRv6))
	}
	if c.Debug {
		c.LogLevel = slog.LevelDebug
	}
}

func (c *Config) compute(key string, field *netip.Prefix, p netip.Prefix) {
	*field = p
	c.values[key] = Value{key, []string{p.String()}, []Origin{{}}}
}

// ownAddress returns the default of bip: Docker's, or the first address of a fixed-cidr elsewhere.
func (c *Config) ownAddress() netip.Prefix {
	usual := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17, 0, 1}), 16)
	if c.FixedCIDR.IsValid() && !usual.Masked().Contains(c.FixedCIDR.Addr()) {
		return firstHost(c.FixedCIDR)
	}
	return usual
}

func firstHost(subnet netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(subnet.Masked().Addr().Next(), subnet.Bits())
}

func (c *Config) execRootSocket(name string) Host {
	return Host{Network: "unix", Address: c.ExecRoot + "/" + name + ".sock"}
}

// check returns conflicts between keys. It skips rules for keys that could not be parsed.
func (c *Config) check(unread map[string]bool) []error {
	var problems []error
	for _, rule := range []struct {
		keys  []string
		check func() error
	}{
		{[]string{"data-root", "exec-root"}, c.checkRoots},
		{[]string{"exec-root"}, c.checkSockets},
		{[]string{"bip", "fixed-cidr", "default-gateway"}, c.checkIPv4},
		{[]string{"bip6", "fixed-cidr-v6", "default-gateway-v6"}, c.checkIPv6},
		{[]string{"mtu", "ipv6", "bip6", "fixed-cidr-v6"}, c.checkMTU},
		{[]string{"bridge"}, c.checkNoBridge},
		{[]string{"tlsverify", "tlscacert", "tlscert", "tlskey"}, c.checkTLS},
		{[]string{"hosts", "tlsverify", "insecure-tcp"}, func() error { return c.checkTCP("hosts", c.Hosts) }},
		{[]string{"docker-hosts", "tlsverify", "insecure-tcp"}, c.checkDockerHosts},
		{[]string{"metrics-address", "tlsverify"}, c.checkMetrics},
	} {
		if slices.ContainsFunc(rule.keys, func(k string) bool { return unread[k] }) {
			continue
		}
		if err := rule.check(); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

func (c *Config) checkIPv4() error {
	return c.checkFamily(c.BIP, c.FixedCIDR, c.DefaultGateway, "bip", "fixed-cidr", "default-gateway")
}

func (c *Config) checkIPv6() error {
	if unused := c.set("default-gateway-v6"); len(unused) > 0 && c.DefaultGatewayV6.IsValid() && !c.BIP6.IsValid() {
		return fault.New(fault.Invalid, c.subject(unused...), "has no subnet", fault.WithField(unused[0]),
			fault.WithHint("set bip6 or fixed-cidr-v6 too, or remove it"))
	}
	return c.checkFamily(c.BIP6, c.FixedCIDRv6, c.DefaultGatewayV6, "bip6", "fixed-cidr-v6", "default-gateway-v6")
}

func (c *Config) checkRoots() error {
	if c.DataRoot != c.ExecRoot {
		return nil
	}
	return fault.New(fault.Invalid, c.subject("data-root", "exec-root"), "both are "+c.DataRoot,
		fault.WithField("exec-root"),
		fault.WithHint("use another directory for runtime files, preferably on a tmpfs"))
}

// checkSockets checks the length of the socket paths in the exec-root.
func (c *Config) checkSockets() error {
	longest := c.execRootSocket("supervisor")
	if len(longest.Address) <= UnixPathMax {
		return nil
	}
	return fault.New(fault.Invalid, c.subject("exec-root"),
		fmt.Sprintf("socket path %s has %d bytes, more than %d", longest.Address, len(longest.Address), UnixPathMax),
		fault.WithField("exec-root"), fault.WithHint("use a shorter path"))
}

// checkFamily checks that the address range and the gateway are in the subnet of the bridge. It
// reports both in one fault.
func (c *Config) checkFamily(bip, fixed netip.Prefix, gateway netip.Addr, bipKey, fixedKey, gatewayKey string) error {
	network, source := bip.Masked(), bipKey
	if fixed == network && c.OriginOf(bipKey).Rank == Default {
		source = fixedKey // bip was derived from it
	}
	if !network.IsValid() {
		return nil
	}
	if network.Bits() > network.Addr().BitLen()-2 { // a short bip itself is rejected by its parser
		return fault.New(fault.Invalid, c.subject(fixedKey), "subnet "+fixed.String()+" is too small for containers",
			fault.WithField(fixedKey), fault.WithHint("set %s too, or use a larger range", bipKey))
	}
	var keys, values []string
	if fixed.IsValid() && (!network.Contains(fixed.Addr()) || fixed.Bits() < network.Bits()) {
		keys, values = append(keys, fixedKey), append(values, fixed.String())
	}
	if gateway.IsValid() && (!network.Contains(gateway) || gateway == network.Addr() || gateway.Is4() &&
		gateway == last(network)) {
		keys, values = append(keys, gatewayKey), append(values, gateway.String())
	}
	if keys == nil {
		return nil
	}
	verb, them := "is", "it"
	if len(keys) > 1 {
		verb, them = "are", "them"
	}
	return fault.New(fault.Invalid, c.subject(keys...),
		fmt.Sprintf("%s %s outside of %s, the subnet of %s", strings.Join(values, " and "), verb, network,
			c.subject(source)),
		fault.WithField(keys[0]), fault.WithHint("move %s into %s, or change %s", them, network, source))
}

func (c *Config) checkMTU() error {
	if c.MTU >= 1280 || !c.IPv6 && !c.BIP6.IsValid() {
		return nil
	}
	return fault.New(fault.Invalid, c.subject("mtu"), fmt.Sprintf("%d is too small for IPv6", c.MTU),
		fault.WithField("mtu"),
		fault.WithHint("use 1280 or more, or remove ipv6, bip6 and fixed-cidr-v6"))
}

// set returns the given keys that are not defaults.
func (c *Config) set(keys ...string) []string {
	return slices.DeleteFunc(keys, func(k string) bool { return c.OriginOf(k).Rank == Default })
}

// checkNoBridge reports keys of the default network when it is disabled.
func (c *Config) checkNoBridge() error {
	unused := c.set("bip", "bip6", "fixed-cidr", "fixed-cidr-v6", "default-gateway", "default-gateway-v6", "renumber",
		"mtu", "ipv6", "icc", "ip-masq", "ip")
	if c.Bridge != NoBridge || len(unused) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, c.subject(unused...),
		"has no effect: "+c.subject("bridge")+" disables the default network",
		fault.WithField(unused[0]), fault.WithHint("remove it, or give the bridge a name"))
}

func (c *Config) checkTLS() error {
	var missing, given []string
	for _, f := range []struct{ key, file string }{{"tlscacert", c.TLSCACert}, {"tlscert", c.TLSCert},
		{"tlskey", c.TLSKey}} {
		if f.file == "" {
			missing = append(missing, f.key)
		} else {
			given = append(given, f.key)
		}
	}
	switch {
	case c.TLSVerify && missing != nil:
		return fault.New(fault.Invalid, c.subject("tlsverify"), "requires "+strings.Join(missing, ", "),
			fault.WithField("tlsverify"), fault.WithHint("set the files of the CA certificate, the agent's "+
				"certificate and its key"))
	case !c.TLSVerify && given != nil:
		return fault.New(fault.Invalid, c.subject(given...), "has no effect without tlsverify",
			fault.WithField(given[0]),
			fault.WithHint("set tlsverify, or remove it"))
	}
	return nil
}

// checkMetrics requires TLS if other hosts can read the metrics.
func (c *Config) checkMetrics() error {
	if c.TLSVerify || c.MetricsAddress.Loopback() {
		return nil
	}
	return fault.New(fault.Invalid, c.subject("metrics-address"), c.MetricsAddress.String()+" requires TLS",
		fault.WithField("metrics-address"),
		fault.WithHint("set tlsverify with its files, or use a loopback address or a Unix socket"))
}

// checkDockerHosts checks the addresses of the Docker Engine API.
func (c *Config) checkDockerHosts() error {
	if texts := c.values["docker-hosts"].Texts; slices.Contains(texts, NoDockerHost) && len(texts) > 1 {
		return fault.New(fault.Invalid, c.subject("docker-hosts"), "has none and an address",
			fault.WithField("docker-hosts"), fault.WithHint("remove one of them"))
	}
	for _, h := range c.DockerHosts {
		if h.Network != "fd" && slices.Contains(c.Hosts, h) {
			return fault.New(fault.Invalid, c.subject("docker-hosts", "hosts"), "both have "+h.String(),
				fault.WithField("docker-hosts"), fault.WithHint("use another address for one of them"))
		}
	}
	return c.checkTCP("docker-hosts", c.DockerHosts)
}

// checkTCP rejects TCP sockets that anyone on the network can use.
func (c *Config) checkTCP(key string, hosts []Host) error {
	var open, origins []string
	for i, h := range hosts { // has one host for each value, as all were parsed
		if !h.Loopback() {
			open = append(open, h.String())
			origins = append(origins, where(key, c.values[key].Origins[i]))
		}
	}
	if open == nil || c.TLSVerify || c.InsecureTCP {
		return nil
	}
	return fault.New(fault.Invalid, strings.Join(slices.Compact(origins), ", "),
		strings.Join(open, " and ")+" would allow unauthenticated root access", fault.WithField(key),
		fault.WithHint("use --tlsverify with --tlscacert, --tlscert and --tlskey, or a loopback address, "+
			"or accept the risk with --insecure-tcp"))
}

// subject returns the keys with their origins.
func (c *Config) subject(keys ...string) string {
	var all []string
	for _, k := range keys {
		all = append(all, where(k, c.OriginOf(k)))
	}
	return strings.Join(all, ", ")
}
