package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// derive computes what follows from other keys when it is not given.
func (c *Config) derive() {
	if len(c.Hosts) == 0 {
		c.Hosts = []Host{c.execRootSocket("fairlead")}
		c.values["hosts"] = Value{"hosts", []string{c.Hosts[0].String()}, []Origin{{}}}
	}
	for name, field := range c.Services.byName() {
		if *field == (Host{}) {
			*field = c.execRootSocket(name)
			key := "services." + name
			c.values[key] = Value{key, []string{field.String()}, []Origin{{}}}
		}
	}
	// A bridge of another name may be one that others have made, and then has addresses already.
	if !c.BIP.IsValid() && (c.Bridge == defaultBridge || c.FixedCIDR.IsValid()) {
		c.compute("bip", &c.BIP, c.ownAddress())
	}
	if !c.IPv6 && len(c.set("ipv6")) > 0 { // switched off in so many words, whatever addresses are given
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

// ownAddress is the bridge's when bip does not say: Docker's, or the first of a range that lies elsewhere.
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

// check finds what does not fit together. What is said of keys that could not be read would be guesses, so it is not said.
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
		{[]string{"hosts", "tlsverify", "insecure-tcp"}, c.checkTCP},
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
		return fault.New(fault.Invalid, c.subject(unused...), "no subnet is given that it could be in", fault.WithField(unused[0]),
			fault.WithHint("give bip6 or fixed-cidr-v6 as well, or leave it out"))
	}
	return c.checkFamily(c.BIP6, c.FixedCIDRv6, c.DefaultGatewayV6, "bip6", "fixed-cidr-v6", "default-gateway-v6")
}

func (c *Config) checkRoots() error {
	if c.DataRoot != c.ExecRoot {
		return nil
	}
	return fault.New(fault.Invalid, c.subject("data-root", "exec-root"), "both are "+c.DataRoot, fault.WithField("exec-root"),
		fault.WithHint("give run-time files their own folder, best on a tmpfs"))
}

// checkSockets looks at the sockets that exec-root places.
func (c *Config) checkSockets() error {
	longest := c.execRootSocket("supervisor")
	if len(longest.Address) <= UnixPathMax {
		return nil
	}
	return fault.New(fault.Invalid, c.subject("exec-root"),
		fmt.Sprintf("%s has %d bytes, a unix socket's path may have %d", longest.Address, len(longest.Address), UnixPathMax),
		fault.WithField("exec-root"), fault.WithHint("use a shorter folder"))
}

// checkFamily holds the allocation range and the gateway against the bridge's network. All that is outside is told at once.
func (c *Config) checkFamily(bip, fixed netip.Prefix, gateway netip.Addr, bipKey, fixedKey, gatewayKey string) error {
	network, source := bip.Masked(), bipKey
	if fixed == network && c.OriginOf(bipKey).Rank == Default {
		source = fixedKey // bip was computed from it
	}
	if !network.IsValid() {
		return nil
	}
	if network.Bits() > network.Addr().BitLen()-2 { // bip itself is refused then, when it is read
		return fault.New(fault.Invalid, c.subject(fixedKey), "the network of "+fixed.String()+" has no room for containers", fault.WithField(fixedKey),
			fault.WithHint("give %s as well, or a larger range", bipKey))
	}
	var keys, values []string
	if fixed.IsValid() && (!network.Contains(fixed.Addr()) || fixed.Bits() < network.Bits()) {
		keys, values = append(keys, fixedKey), append(values, fixed.String())
	}
	if gateway.IsValid() && (!network.Contains(gateway) || gateway == network.Addr() || gateway.Is4() && gateway == last(network)) {
		keys, values = append(keys, gatewayKey), append(values, gateway.String())
	}
	if keys == nil {
		return nil
	}
	verb, them := "is not a part", "it"
	if len(keys) > 1 {
		verb, them = "are not parts", "them"
	}
	return fault.New(fault.Invalid, c.subject(keys...),
		fmt.Sprintf("%s %s of %s, the network of %s", strings.Join(values, " and "), verb, network, c.subject(source)),
		fault.WithField(keys[0]), fault.WithHint("move %s into %s, or change %s", them, network, source))
}

func (c *Config) checkMTU() error {
	if c.MTU >= 1280 || !c.IPv6 && !c.BIP6.IsValid() {
		return nil
	}
	return fault.New(fault.Invalid, c.subject("mtu"), fmt.Sprintf("%d is too small for IPv6", c.MTU), fault.WithField("mtu"),
		fault.WithHint("use 1280 or more, or leave ipv6, bip6 and fixed-cidr-v6 out"))
}

// set lists those of some keys that somebody has set.
func (c *Config) set(keys ...string) []string {
	return slices.DeleteFunc(keys, func(k string) bool { return c.OriginOf(k).Rank == Default })
}

// checkNoBridge finds what is said of a bridge that is not to be.
func (c *Config) checkNoBridge() error {
	unused := c.set("bip", "bip6", "fixed-cidr", "fixed-cidr-v6", "default-gateway", "default-gateway-v6", "renumber", "mtu", "ipv6", "icc", "ip-masq", "ip")
	if c.Bridge != NoBridge || len(unused) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, c.subject(unused...), "nothing uses it without a default network, which "+c.subject("bridge")+" switches off",
		fault.WithField(unused[0]), fault.WithHint("leave it out, or give the bridge a name"))
}

func (c *Config) checkTLS() error {
	var missing, given []string
	for _, f := range []struct{ key, file string }{{"tlscacert", c.TLSCACert}, {"tlscert", c.TLSCert}, {"tlskey", c.TLSKey}} {
		if f.file == "" {
			missing = append(missing, f.key)
		} else {
			given = append(given, f.key)
		}
	}
	switch {
	case c.TLSVerify && missing != nil:
		return fault.New(fault.Invalid, c.subject("tlsverify"), "it also needs "+strings.Join(missing, ", "), fault.WithField("tlsverify"),
			fault.WithHint("give the files of the CA's certificate, the agent's certificate and its key"))
	case !c.TLSVerify && given != nil:
		return fault.New(fault.Invalid, c.subject(given...), "nothing uses it without tlsverify", fault.WithField(given[0]),
			fault.WithHint("set tlsverify, or leave it out"))
	}
	return nil
}

// checkTCP refuses to give root to a network.
func (c *Config) checkTCP() error {
	var open, places []string
	for i, h := range c.Hosts { // as many as values, if all could be read
		if !h.Loopback() {
			open, places = append(open, h.String()), append(places, where("hosts", c.values["hosts"].Origins[i]))
		}
	}
	if open == nil || c.TLSVerify || c.InsecureTCP {
		return nil
	}
	return fault.New(fault.Invalid, strings.Join(slices.Compact(places), ", "), strings.Join(open, " and ")+" would give root on this machine to whoever reaches it",
		fault.WithField("hosts"),
		fault.WithHint("give --tlsverify with --tlscacert, --tlscert and --tlskey, or a loopback address, or accept the risk with --insecure-tcp"))
}

// subject names keys and where each was written.
func (c *Config) subject(keys ...string) string {
	var all []string
	for _, k := range keys {
		all = append(all, where(k, c.OriginOf(k)))
	}
	return strings.Join(all, ", ")
}
