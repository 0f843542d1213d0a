package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/egress"
)

// Each function below parses one text into one field.

func path(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, text string) error {
		if !filepath.IsAbs(text) {
			return bad("write a path that starts with /", "%q is not an absolute path", text)
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
			return bad("services authenticate by peer UID; write unix:///PATH", "%q is not a Unix socket", text)
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

// setMetricsAddress sets the address of the Prometheus endpoint.
func setMetricsAddress(c *Config, text string) error {
	h, err := ParseHost(text)
	if err == nil && h.Network == "fd" {
		return bad("write unix:///PATH or tcp://ADDRESS:PORT", "%q is not an address for metrics", text)
	}
	c.MetricsAddress = h
	return err
}

// addDockerHost adds a listen address of the Docker Engine API. NoDockerHost adds none.
func addDockerHost(c *Config, text string) error {
	if text == NoDockerHost {
		return nil
	}
	h, err := ParseHost(text)
	if err == nil {
		c.DockerHosts = append(c.DockerHosts, h)
	}
	return err
}

func setBridge(c *Config, text string) error {
	if len(text) > 15 || text == "." || text == ".." || strings.ContainsAny(text, "/: \t\n\x00") {
		return bad("use at most 15 letters, digits and dashes", "%q is not a valid device name", text)
	}
	c.Bridge = text
	return nil
}

func setMTU(c *Config, text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 68 || n > 65535 {
		return bad("the MTU of Ethernet is 1500", "%q is not a number from 68 to 65535", text)
	}
	c.MTU = n
	return nil
}

func setIP(c *Config, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.IsMulticast() || addr.Zone() != "" {
		return bad("write a host address, or 0.0.0.0 for all", "%q is not a valid address for published ports", text)
	}
	c.IP = addr.Unmap()
	return nil
}

func addHostGateway(c *Config, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil || !usable(addr) || addr.Zone() != "" {
		return bad("write an address that containers can reach", "%q is not a valid host address", text)
	}
	for _, other := range c.HostGateways {
		if other.Is4() == addr.Is4() {
			return bad("use at most one IPv4 and one IPv6 address", "%s is the second address of its family, after %s",
				addr, other)
		}
	}
	c.HostGateways = append(c.HostGateways, addr)
	return nil
}

func addDNS(c *Config, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.IsUnspecified() || addr.IsMulticast() {
		return bad("write an IPv4 or IPv6 address, without a port", "%q is not a valid server address", text)
	}
	c.DNS = append(c.DNS, addr)
	return nil
}

func addDNSSearch(c *Config, text string) error {
	if text != "." && !isDomain(strings.TrimSuffix(text, ".")) {
		return bad("write letters, digits, dashes and dots", "%q is not a valid domain", text)
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
		return bad("write one option for each element, as in ndots:2", "%q is not a valid option", text)
	}
	c.DNSOptions = append(c.DNSOptions, text)
	return nil
}

func addMirror(c *Config, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		return bad("write https://HOST[:PORT]", "%q is not a valid mirror URL", text)
	}
	c.RegistryMirrors = append(c.RegistryMirrors, text)
	return nil
}

func addInsecure(c *Config, text string) error {
	_, err := netip.ParsePrefix(text)
	if text == "" || err != nil && strings.ContainsAny(text, "/ \t\n@?#") {
		return bad("write HOST[:PORT] without http://, or a subnet", "%q is not a valid registry", text)
	}
	c.InsecureRegistries = append(c.InsecureRegistries, text)
	return nil
}

func setFirewallBackend(c *Config, text string) error {
	if text != "auto" && text != "nftables" && text != "iptables" {
		return bad("write auto, nftables or iptables", "%q is not a valid firewall backend", text)
	}
	c.FirewallBackend = text
	return nil
}

// addEgress adds rules of an egress policy. All are checked together, as "none" excludes others.
func addEgress(c *Config, text string) error {
	p, err := egress.Parse(append(slices.Clone(c.Egress), text))
	if err != nil {
		return bad("see fairlead policy --help", "%s", err)
	}
	c.Egress = p.Strings()
	return nil
}

func setPublishBlocked(c *Config, text string) error {
	if text != "warn" && text != "refuse" && text != "allow" {
		return bad("write warn, refuse or allow", "invalid value %q", text)
	}
	c.PublishBlocked = text
	return nil
}

func setRuntime(c *Config, text string) error { return setProgram(&c.DefaultRuntime, text, "crun") }

func setBuildKit(c *Config, text string) error { return setProgram(&c.BuildKit, text, "buildkitd") }

// setProgram sets the name or path of a program.
func setProgram(field *string, text, example string) error {
	if strings.Contains(text, "/") && !filepath.IsAbs(text) || strings.ContainsAny(text, " \n\x00") {
		return bad("write a name such as "+example+", or an absolute path",
			"%q is neither a name nor an absolute path", text)
	}
	*field = text
	return nil
}

func setLogLevel(c *Config, text string) error {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	level, ok := levels[strings.ToLower(text)]
	if !ok {
		return bad("write debug, info, warn or error", "%q is not a valid log level", text)
	}
	c.LogLevel = level
	return nil
}

func setLogFormat(c *Config, text string) error {
	if text != "text" && text != "json" {
		return bad("write text or json", "%q is not a valid log format", text)
	}
	c.LogFormat = text
	return nil
}
