package cni

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
)

// defaultExecRoot is the directory of the services' sockets.
const defaultExecRoot = "/run/fairlead"

// Config is the configuration of the plugin, as a runtime passes it.
type Config struct {
	types.PluginConf
	Network  string `json:"network"`  // of Fairlead; empty: the name of the configuration
	ExecRoot string `json:"execRoot"` // empty: /run/fairlead
	Names    *bool  `json:"names"`    // nil: true
	// Runtime has the values of the capabilities.
	Runtime Runtime `json:"runtimeConfig"`
}

// Runtime holds the values of the supported capabilities.
type Runtime struct {
	PortMappings []PortMapping       `json:"portMappings"`
	IPs          []string            `json:"ips"`
	MAC          string              `json:"mac"`
	Aliases      map[string][]string `json:"aliases"` // by the name of the configuration
	DNS          RuntimeDNS          `json:"dns"`
}

// PortMapping is one port of the capability portMappings.
type PortMapping struct {
	HostPort      uint32 `json:"hostPort"`
	ContainerPort uint32 `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP"`
}

// RuntimeDNS holds the value of the capability dns.
type RuntimeDNS struct {
	Servers  []string `json:"servers"`
	Searches []string `json:"searches"`
	Options  []string `json:"options"`
}

// knownKeys lists the keys of a configuration. Keys with the prefix cni.dev/ are allowed too.
var knownKeys = map[string]bool{"cniVersion": true, "cniVersions": true, "name": true, "type": true, "args": true,
	"capabilities": true, "dns": true, "prevResult": true, "runtimeConfig": true, "disableCheck": true,
	"disableGC": true, "loadOnlyInlinedPlugins": true, "network": true, "execRoot": true, "names": true}

// ParseConfig parses the configuration that a runtime writes to the standard input.
func ParseConfig(text []byte) (Config, error) {
	var c Config
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return c, fault.Invalidf("CNI configuration", "", "is not a JSON object: %v", err)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if err := checkKey(key); err != nil {
			return c, err
		}
	}

	if err := json.Unmarshal(text, &c); err != nil {
		return c, fault.Invalidf("CNI configuration", "", "cannot be parsed: %v", err)
	}
	if err := checkCapabilities(keys["runtimeConfig"]); err != nil {
		return c, err
	}
	if c.Network == "" {
		c.Network = c.Name
	}
	if c.ExecRoot == "" {
		c.ExecRoot = defaultExecRoot
	}
	return c, c.validate()
}

func checkKey(key string) error {
	if knownKeys[key] || strings.HasPrefix(key, "cni.dev/") {
		return nil
	}
	hint := "remove it; the keys of this plugin are network, names and execRoot"
	if key == "ipam" {
		hint = "remove it: the network has the subnet (fairlead network create --subnet)"
	}
	return fault.New(fault.Invalid, "CNI configuration", "unknown key "+key, fault.WithField(key), fault.WithHint("%s",
		hint))
}

// checkCapabilities rejects capabilities that the configuration enables but the plugin lacks.
func checkCapabilities(text json.RawMessage) error {
	if len(text) == 0 {
		return nil
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(new(Runtime)); err != nil {
		return fault.New(fault.Invalid, "CNI configuration", "runtimeConfig: "+err.Error(),
			fault.WithField("capabilities"),
			fault.WithHint("enable only portMappings, ips, mac, aliases and dns; chain another plugin for the rest"))
	}
	return nil
}

func (c Config) validate() error {
	switch {
	case c.Name == "":
		return fault.Invalidf("CNI configuration", "name", "has no name")
	case !filepath.IsAbs(c.ExecRoot):
		return fault.Invalidf("CNI configuration", "execRoot", "execRoot %q is not an absolute path", c.ExecRoot)
	}
	for _, m := range c.Runtime.PortMappings {
		if err := m.validate(); err != nil {
			return err
		}
	}
	return nil
}

// validate checks a mapping. One without a host port is not published.
func (m PortMapping) validate() error {
	const most = 65535
	if m.ContainerPort > most || m.HostPort > most {
		return fault.Invalidf("port mapping", "portMappings", "ports must be 1 to 65535, got %d and %d", m.HostPort,
			m.ContainerPort)
	}
	converted, err := m.convert()
	if err == nil {
		err = converted.Validate()
	}
	if err != nil {
		return fault.Invalidf("port mapping", "portMappings", "%v", err)
	}
	return nil
}

// convert converts a mapping. An unspecified IPv4 address means all addresses, as in CNI's plugin portmap.
func (m PortMapping) convert() (port.Mapping, error) {
	out := port.Mapping{Protocol: port.Protocol(strings.ToLower(cmp.Or(m.Protocol, "tcp"))),
		Container: port.Range{First: uint16(m.ContainerPort), Last: uint16(m.ContainerPort)},
		Host:      port.Range{First: uint16(m.HostPort), Last: uint16(m.HostPort)}}
	if m.HostIP == "" || m.HostIP == "0.0.0.0" {
		return out, nil
	}
	var err error
	out.HostIP, err = netip.ParseAddr(m.HostIP)
	return out, err
}

// mappings returns the ports to publish. Kubernetes passes ports without a host port, which are not
// published.
func (c Config) mappings() []*natv1.PortMapping {
	var out []port.Mapping
	for _, m := range c.Runtime.PortMappings {
		if converted, err := m.convert(); err == nil && m.HostPort != 0 {
			out = append(out, converted)
		}
	}
	return portpb.MappingsToProto(out)
}

// usesNames reports whether names are registered on networks that have them.
func (c Config) usesNames() bool { return c.Names == nil || *c.Names }
