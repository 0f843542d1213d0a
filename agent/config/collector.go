package config

import (
	"strings"
)

// collectorPort is the default port of OTLP over gRPC.
const collectorPort = ":4317"

// Collector is the address of an OpenTelemetry collector that accepts OTLP over gRPC. The zero Collector
// is none.
type Collector struct {
	Host Host
	TLS  bool
}

// String formats the collector for ParseCollector. It is empty for the zero Collector.
func (c Collector) String() string {
	switch {
	case c.Host.Network != "tcp":
		return c.Host.String()
	case c.TLS:
		return "https://" + c.Host.Address
	}
	return "http://" + c.Host.Address
}

// Target returns the address as gRPC expects it.
func (c Collector) Target() string {
	if c.Host.Network == "unix" {
		return c.Host.String()
	}
	return "dns:///" + c.Host.Address
}

// ParseCollector parses http://HOST[:PORT], https://HOST[:PORT] or unix:///PATH.
func ParseCollector(text string) (Collector, error) {
	const hint = "write http://HOST[:PORT], https://HOST[:PORT] or unix:///PATH"
	scheme, address, found := strings.Cut(text, "://")
	switch {
	case found && scheme == "unix":
		h, err := ParseHost(text)
		return Collector{Host: h}, err
	case !found || scheme != "http" && scheme != "https":
		return Collector{}, bad(hint, "%q is not an address of a collector", text)
	}

	address = strings.TrimSuffix(address, "/")
	if address == "" || strings.ContainsAny(address, "/?#@ ") {
		return Collector{}, bad(hint, "%q is not an address of a collector", text)
	}
	if colon := strings.LastIndexByte(address, ':'); colon < 0 || strings.HasSuffix(address, "]") {
		address += collectorPort
	}
	h := Host{Network: "tcp", Address: address}
	if h.checkPort() != nil || address[0] == ':' {
		return Collector{}, bad(hint, "%q is not an address of a collector", text)
	}
	return Collector{h, scheme == "https"}, nil
}

// setTracesEndpoint sets the collector of traces.
func setTracesEndpoint(c *Config, text string) (err error) {
	c.TracesEndpoint, err = ParseCollector(text)
	return err
}
