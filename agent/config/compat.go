package config

import (
	"math"
	"strconv"
	"strings"
)

// compatKeys are Docker's that have just one meaning here. They are taken where they say so, so that a file of Docker's can be used.
func compatKeys() []Key {
	return []Key{
		{Name: "iptables", Kind: Bool, Flag: "iptables", Usage: "Only true is taken: published ports are rules", set: requireBool(true, "published ports are rules of the firewall; firewall-backend says which kind")},
		{Name: "ip6tables", Kind: Bool, Flag: "ip6tables", Usage: "Only true is taken: see iptables", set: requireBool(true, "published ports are rules of the firewall; firewall-backend says which kind")},
		{Name: "live-restore", Kind: Bool, Flag: "live-restore", Usage: "Only true is taken: containers outlive the agent", set: requireBool(true, "containers always outlive the agent")},
		{Name: "log-driver", Flag: "log-driver", Usage: "Only json-file and local are accepted: logs are files", set: onlyFiles},
		{Name: "userland-proxy", Kind: Bool, Flag: "userland-proxy", Usage: "Taken for Docker's sake: the kernel does without a proxy", set: truth(func(*Config) *bool { return new(bool) })},
		{Name: "ip-forward-no-drop", Kind: Bool, Flag: "ip-forward-no-drop", Usage: "Taken for Docker's sake: no policy of others is ever changed", set: truth(func(*Config) *bool { return new(bool) })},
	}
}

// requireBool takes one of two values.
func requireBool(want bool, why string) func(*Config, string) error {
	return func(_ *Config, text string) error {
		if b, err := strconv.ParseBool(text); err != nil || b != want {
			return bad("leave it out: "+why, "%q is not to be had", text)
		}
		return nil
	}
}

// onlyFiles accepts Docker's log drivers that write files.
func onlyFiles(_ *Config, text string) error {
	if text != "json-file" && text != "local" {
		return bad("leave it out: logs are files, read by `fairlead logs`", "log driver %q is not supported", text)
	}
	return nil
}

// unsupportedKeys are keys of Docker's for things that are not here, and why.
func unsupportedKeys() map[string]string {
	const swarm, proxy = "there is no swarm here", "there is no proxy process here: the kernel does it"
	return map[string]string{
		"userland-proxy-path":          proxy,
		"network-control-plane-mtu":    swarm,
		"network-diagnostic-port":      swarm,
		"swarm-default-advertise-addr": swarm,
	}
}

// setAcceptMark reads 1, 0x10 or 0x10/0xf0. A mark that no packet can have under its mask would never be met.
func setAcceptMark(c *Config, text string) error {
	mark, mask, masked := strings.Cut(text, "/")
	value, err := strconv.ParseUint(mark, 0, 32)
	under := uint64(math.MaxUint32)
	if masked && err == nil {
		under, err = strconv.ParseUint(mask, 0, 32)
	}
	if err != nil || under == 0 || value&^under != 0 {
		return bad("write MARK or MARK/MASK, as in 0x10/0xf0", "%q is no mark of packets", text)
	}
	c.AcceptMark, c.AcceptMask = uint32(value), uint32(under)
	return nil
}

// addNetworkOption reads bridge=com.docker.network.driver.mtu=1400. The first that is given counts, as that is the strongest layer's.
func addNetworkOption(c *Config, text string) error {
	driver, option, _ := strings.Cut(text, "=")
	key, value, ok := strings.Cut(option, "=")
	if driver == "" || key == "" || !ok {
		return bad("write DRIVER=OPTION=VALUE, as in bridge=com.docker.network.driver.mtu=1400", "%q is no option of a network driver", text)
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
