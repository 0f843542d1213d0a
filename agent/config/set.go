package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// The functions here read one text into one field, or say what is wrong with it.

func path(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, text string) error {
		if !filepath.IsAbs(text) {
			return bad("write it from / on", "%q is not an absolute path", text)
		}
		*field(c) = filepath.Clean(text)
		return nil
	}
}

func truth(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, text string) error {
		b, err := strconv.ParseBool(text)
		if err != nil {
			return bad("write true or false", "%q is neither true nor false", text)
		}
		*field(c) = b
		return nil
	}
}

func serviceHost(field func(*Config) *Host) func(*Config, string) error {
	return func(c *Config, text string) error {
		h, err := ParseHost(text)
		if err != nil {
			return err
		}
		if h.Network != "unix" {
			return bad("services know each other by the user ids that unix sockets tell; write unix:///PATH", "%q is not a unix socket", text)
		}
		*field(c) = h
		return nil
	}
}

func addHost(c *Config, text string) error {
	h, err := ParseHost(text)
	if err == nil {
		c.Hosts = append(c.Hosts, h)
	}
	return err
}

func setBridge(c *Config, text string) error {
	if len(text) > 15 || text == "." || text == ".." || strings.ContainsAny(text, "/: \t\n\x00") {
		return bad("use at most 15 letters, digits and dashes", "%q cannot be a device's name", text)
	}
	c.Bridge = text
	return nil
}

func setMTU(c *Config, text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 68 || n > 65535 {
		return bad("1500 is Ethernet's", "%q is not a number from 68 to 65535", text)
	}
	c.MTU = n
	return nil
}

func setIP(c *Config, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.IsMulticast() || addr.Zone() != "" {
		return bad("write an address of the host, or 0.0.0.0 for all of them", "%q is not an address to publish on", text)
	}
	c.IP = addr
	return nil
}

func addHostGateway(c *Config, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil || !usable(addr) || addr.Zone() != "" {
		return bad("write an address that containers reach", "%q is not a host's address", text)
	}
	for _, other := range c.HostGateways {
		if other.Is4() == addr.Is4() {
			return bad("give at most one IPv4 and one IPv6 address", "%s is the second of its family after %s", addr, other)
		}
	}
	c.HostGateways = append(c.HostGateways, addr)
	return nil
}

func addDNS(c *Config, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.IsUnspecified() || addr.IsMulticast() {
		return bad("write an IPv4 or IPv6 address, without a port", "%q is not a server's address", text)
	}
	c.DNS = append(c.DNS, addr)
	return nil
}

func addDNSSearch(c *Config, text string) error {
	if text != "." && !isDomain(strings.TrimSuffix(text, ".")) {
		return bad("write letters, digits, dashes and dots", "%q is not a domain", text)
	}
	c.DNSSearch = append(c.DNSSearch, text)
	return nil
}

func isDomain(text string) bool {
	if len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		odd := strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_")
		if label == "" || len(label) > 63 || odd != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

func addDNSOption(c *Config, text string) error {
	if text == "" || strings.ContainsAny(text, " \t\n\r\x00") {
		return bad("write one option each, as in ndots:2", "%q is not one option", text)
	}
	c.DNSOptions = append(c.DNSOptions, text)
	return nil
}

func addMirror(c *Config, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return bad("write https://HOST[:PORT]", "%q is not a mirror's URL", text)
	}
	c.RegistryMirrors = append(c.RegistryMirrors, text)
	return nil
}

func addInsecure(c *Config, text string) error {
	_, err := netip.ParsePrefix(text)
	if text == "" || err != nil && strings.ContainsAny(text, "/ \t\n@?#") {
		return bad("write HOST[:PORT] without http://, or a subnet", "%q is not a registry", text)
	}
	c.InsecureRegistries = append(c.InsecureRegistries, text)
	return nil
}

func setFirewallBackend(c *Config, text string) error {
	if text != "auto" && text != "nftables" && text != "iptables" {
		return bad("write auto, nftables or iptables", "%q is not a firewall backend", text)
	}
	c.FirewallBackend = text
	return nil
}

func setPublishClosed(c *Config, text string) error {
	if text != "warn" && text != "refuse" && text != "allow" {
		return bad("write warn, refuse or allow", "%q is nothing to do", text)
	}
	c.PublishBlocked = text
	return nil
}

func setRuntime(c *Config, text string) error {
	if strings.Contains(text, "/") && !filepath.IsAbs(text) || strings.ContainsAny(text, " \n\x00") {
		return bad("write a name such as crun, or a path from / on", "%q is neither a name nor an absolute path", text)
	}
	c.DefaultRuntime = text
	return nil
}

func setLogLevel(c *Config, text string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[strings.ToLower(text)]
	if !ok {
		return bad("write debug, info, warn or error", "%q is not a level", text)
	}
	c.LogLevel = level
	return nil
}

func setLogFormat(c *Config, text string) error {
	if text != "text" && text != "json" {
		return bad("write text or json", "%q is not a format", text)
	}
	c.LogFormat = text
	return nil
}
