package config

import (
	"math"
	"strconv"
	"strings"
)

const firewallReason = "published ports are firewall rules; firewall-backend selects the firewall"

// compatKeys returns Docker keys with only one supported value. They are accepted so that Docker's
// configuration file can be used.
func compatKeys() []Key {
	return []Key{
		{Name: "iptables", Kind: Bool, Flag: "iptables", Usage: "Accepted for Docker compatibility; must be true",
			set: requireBool(true, firewallReason)},
		{Name: "ip6tables", Kind: Bool, Flag: "ip6tables", Usage: "Accepted for Docker compatibility; must be true",
			set: requireBool(true, firewallReason)},
		{Name: "live-restore", Kind: Bool, Flag: "live-restore",
			Usage: "Accepted for Docker compatibility; must be true",
			set:   requireBool(true, "containers always outlive the agent")},
		{Name: "userland-proxy", Kind: Bool, Flag: "userland-proxy",
			Usage: "Accepted for Docker compatibility; no effect",
			set:   truth(func(*Config) *bool { return new(bool) })},
		{Name: "ip-forward-no-drop", Kind: Bool, Flag: "ip-forward-no-drop",
			Usage: "Accepted for Docker compatibility; no effect",
			set:   truth(func(*Config) *bool { return new(bool) })},
	}
}

// requireBool accepts one of the two values.
func requireBool(want bool, why string) func(*Config, string) error {
	return func(_ *Config, text string) error {
		if b, err := strconv.ParseBool(text); err != nil || b != want {
			return bad("remove it: "+why, "%q is not supported", text)
		}
		return nil
	}
}

// unsupportedKeys returns Docker keys of features that do not exist here, with the reason.
func unsupportedKeys() map[string]string {
	const swarm, proxy = "swarm mode does not exist", "the kernel forwards ports without a proxy process"
	return map[string]string{
		"userland-proxy-path":          proxy,
		"network-control-plane-mtu":    swarm,
		"network-diagnostic-port":      swarm,
		"swarm-default-advertise-addr": swarm,
	}
}

// setAcceptMark parses 1, 0x10 or 0x10/0xf0. A mark with bits outside of its mask is rejected
// because no packet can match it.
func setAcceptMark(c *Config, text string) error {
	mark, mask, masked := strings.Cut(text, "/")
	value, err := strconv.ParseUint(mark, 0, 32)
	under := uint64(math.MaxUint32)
	if masked && err == nil {
		under, err = strconv.ParseUint(mask, 0, 32)
	}
	if err != nil || under == 0 || value&^under != 0 {
		return bad("write MARK or MARK/MASK, as in 0x10/0xf0", "%q is not a valid fwmark", text)
	}
	c.AcceptMark, c.AcceptMask = uint32(value), uint32(under)
	return nil
}

// addNetworkOption parses bridge=com.docker.network.driver.mtu=1400. The first value of an option
// is used, because it is from the highest layer.
func addNetworkOption(c *Config, text string) error {
	driver, option, _ := strings.Cut(text, "=")
	key, value, ok := strings.Cut(option, "=")
	if driver == "" || key == "" || !ok {
		return bad("write DRIVER=OPTION=VALUE, as in bridge=com.docker.network.driver.mtu=1400",
			"%q is not a valid driver option", text)
	}
	switch driver {
	case "bridge", "macvlan", "ipvlan":
	default:
		return bad("the drivers are bridge, macvlan and ipvlan", "networks of driver %q have no options", driver)
	}
	if c.NetworkOptions == nil {
		c.NetworkOptions = map[string]map[string]string{}
	}
	if c.NetworkOptions[driver] == nil {
		c.NetworkOptions[driver] = map[string]string{}
	}
	if _, stronger := c.NetworkOptions[driver][key]; !stronger {
		c.NetworkOptions[driver][key] = value
	}
	return nil
}
